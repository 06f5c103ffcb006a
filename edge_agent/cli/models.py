"""`edge-agent models`: the bundles that lie on this gateway, whether they are whole, and who uses them."""

from pathlib import Path
from typing import Any

import click

from edge_agent.cli import place
from edge_agent.cli.printing import as_json, show_json, show_rows
from edge_agent.config import Config
from edge_agent.errors import InferenceError
from edge_protocol import bundle
from edge_protocol.errors import ManifestError


@click.command(help="The bundles on this gateway and what runs.")
@place.option
@as_json
def command(config_file: Path, *, as_json: bool) -> None:
    """Check every bundle against its manifest. Exit code 1 if one is damaged or a pipeline's is missing."""
    from edge_agent.cli import plans

    settings = place.load(config_file)
    folder = settings.data_dir / "bundles"
    names = {path.name for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else set()
    names |= {pipeline.bundle for pipeline in settings.pipelines}
    slots, measured = _slots(settings), plans.by_digest(settings)
    placed = [_look(folder / name, _users(settings, name, slots), measured) for name in sorted(names)]
    rows = placed + [_look(settings.data_dir / "slots" / digest, users, measured) for digest, users in slots.items()]
    if as_json:
        show_json(rows)
    else:
        show_rows(rows, f"no bundle in {folder}")
        if measured and plans.noted_quota(settings) is None:
            click.echo("\nplans are those for this shell's processors: no agent has noted yet how many it has")
    if any(row["state"] != "whole" for row in rows):
        raise SystemExit(1)


def _slots(settings: Config) -> dict[str, list[str]]:
    """The slots by digest, each with the pipelines that run it: of those that were ever updated from the hub."""
    if not place.database(settings).is_file():
        return {}
    users: dict[str, list[str]] = {}
    for row in place.select(settings, "SELECT pipeline, digest, previous FROM slots ORDER BY pipeline"):
        users.setdefault(row["digest"], []).append(row["pipeline"])
        if row["previous"]:
            users.setdefault(row["previous"], [])
    return users


def _users(settings: Config, name: str, slots: dict[str, list[str]]) -> list[str]:
    """The pipelines that run what was placed: the hub has named them nothing yet."""
    updated = {pipeline for users in slots.values() for pipeline in users}
    return [table.name for table in settings.pipelines if table.bundle == name and table.name not in updated]


def _look(folder: Path, users: list[str], plans: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"bundle": folder.name, "version": None, "task": None, "digest": None, "pipelines": users}
    try:
        manifest, digest = bundle.load(folder) if folder.parent.name == "bundles" else _load_slot(folder)
    except ManifestError as error:
        return row | {"variants": [], "runs_as": None, "state": f"{error}"}
    variants = [variant.name for variant in manifest.variants]
    runs_as = _runs_as(manifest, folder, plans.get(digest))
    found = {"bundle": manifest.name if folder.name == digest else folder.name, "version": manifest.version}
    found |= {"task": manifest.task, "digest": digest[:12]}
    return row | found | {"variants": variants, "runs_as": runs_as, "state": "whole"}


def _runs_as(manifest: bundle.Manifest, folder: Path, plan: Any) -> str:
    """Variant, threads and provider, as the next start would load it where nothing else is configured."""
    from edge_agent.inference.engine import settle_provider
    from edge_agent.inference.variants import settle

    try:
        how = settle(manifest, folder, "", plan)
    except InferenceError as error:
        return str(error)
    provider, lack = settle_provider(manifest.variant(how.variant).provider)
    threads = f"{how.threads} thread{'s' if how.threads > 1 else ''}"
    return f"{how.variant}, {threads}, {provider.replace('ExecutionProvider', '')}{f'; {lack.says}' if lack else ''}"


def _load_slot(folder: Path) -> tuple[bundle.Manifest, str]:
    """A slot, which holds only what this gateway needs of its bundle."""
    manifest, digest = bundle.read(folder)
    bundle.check_files(manifest, folder, [name for name in manifest.files if (folder / name).exists()])
    return manifest, digest
