"""The kinds of sources there are: one row each, from its table in the TOML to what makes it."""

from collections.abc import Callable
from typing import Any

from edge_agent import settings
from edge_agent.sources.camera import CameraSource
from edge_agent.sources.folder import FolderSource
from edge_agent.sources.replay import ReplaySource
from edge_agent.sources.source import Source
from edge_agent.sources.video import VideoSource

KINDS: dict[type[settings.Source], Callable[[Any], Source]] = {
    settings.FolderSource: FolderSource,
    settings.ReplaySource: ReplaySource,
    settings.VideoSource: VideoSource,
    settings.CameraSource: CameraSource,
}


def make_source(table: settings.Source) -> Source:
    """The source of a row of `[[sources]]`, not yet open."""
    return KINDS[type(table)](table)
