"""`edge-agent models`: the bundles that lie on this gateway, whether they are whole, and who uses them."""

from pathlib import Path
from typing import Any

import click

from edge_agent.cli import place
from edge_agent.cli.printing import as_json, show_json, show_rows
from edge_agent.config import Config
from edge_protocol import bundle
from edge_protocol.errors import ManifestError


@click.command(help="The bundles on this gateway and what runs.")
@place.option
@as_json
def command(config_file: Path, *, as_json: bool) -> None:
    """Check every bundle against its manifest. Exit code 1 if one is damaged or a pipeline's is missing."""
    settings = place.load(config_file)
    folder = settings.data_dir / "bundles"
    names = {path.name for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else set()
    names |= {pipeline.bundle for pipeline in settings.pipelines}
    rows = [_look(settings, folder / name) for name in sorted(names)]
    if as_json:
        show_json(rows)
    else:
        show_rows(rows, f"no bundle in {folder}")
    if any(row["state"] != "whole" for row in rows):
        raise SystemExit(1)


def _look(settings: Config, folder: Path) -> dict[str, Any]:
    users = [pipeline.name for pipeline in settings.pipelines if pipeline.bundle == folder.name]
    row: dict[str, Any] = {"bundle": folder.name, "version": None, "task": None, "digest": None, "pipelines": users}
    try:
        manifest, digest = bundle.load(folder)
    except ManifestError as error:
        return row | {"variants": [], "state": f"{error}"}
    variants = [variant.name for variant in manifest.variants]
    found = {"version": manifest.version, "task": manifest.task, "digest": digest[:12]}
    return row | found | {"variants": variants, "state": "whole"}
