"""The rows of `[[sources]]`, a struct for each kind."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from edge_agent.settings.table import Name, Table


class FolderSource(Table, frozen=True, kw_only=True, tag="folder", tag_field="kind"):
    """Files that appear in a folder: pictures, or .npy windows. The part is named by the file."""

    name: Annotated[Name, Meta(description="name of the source")]
    path: Annotated[Path, Meta(description="folder to watch")]
    pattern: Annotated[str, Meta(min_length=1, description="which files are taken, as *.png")] = "*"
    channel: Annotated[str, Meta(min_length=1, description="what .npy windows are called in the contract")] = "signal"
    processed: Annotated[str, Meta(min_length=1, description="folder in `path` for what was judged")] = "processed"
    failed: Annotated[str, Meta(min_length=1, description="folder in `path` for what could not be inspected")] = (
        "failed"
    )
    settle_s: Annotated[float, Meta(ge=0, description="time a file must not change before it is taken")] = 0.2


class ReplaySource(Table, frozen=True, kw_only=True, tag="replay", tag_field="kind"):
    """Draws from recorded data, a fresh one for each trigger; the same seed and trigger give the same draw."""

    name: Annotated[Name, Meta(description="name of the source")]
    scene: Annotated[Literal["textures", "windows"], Meta(description="crops of pictures, or rows of a signal")]
    path: Annotated[Path, Meta(description="folder of pictures, or file of windows")]
    channel: Annotated[str, Meta(min_length=1, description="what windows are called in the contract")] = "signal"
    seed: Annotated[int, Meta(ge=0, description="seed of the draws")] = 0
    half: Annotated[Literal["left", "right"], Meta(description="half of each picture the crops come from")] = "right"
    defect_share: Annotated[float, Meta(ge=0, le=1, description="share of draws with a defect or fault")] = 0.05
    crop_px: Annotated[int, Meta(ge=16, le=4096, description="side of a crop")] = 224
    dimmer: Annotated[Path | None, Meta(description="text file with a factor on the light, as 0.8")] = None


Source: TypeAlias = FolderSource | ReplaySource
