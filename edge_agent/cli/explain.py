"""`edge-agent explain`: why a verdict on record is what it is, in words and numbers, and where its picture lies."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import msgspec

from edge_agent.cli import place
from edge_agent.cli.printing import as_json, show_json
from edge_agent.config import Config
from edge_agent.diagnostics import windows
from edge_agent.diagnostics.exhibit import FOLDER, WINDOWS, Exhibit, file_name, read_exhibit
from edge_agent.diagnostics.telling import sentences
from edge_agent.errors import ConfigError

_SQL = (
    "SELECT at, epoch, pipeline, trigger, part, verdict, reason, score, latency_ms, bundle, version, variant, digest "
    "FROM verdict WHERE trigger = :trigger AND (:epoch IS NULL OR epoch = :epoch) "
    "AND (:pipeline = '' OR pipeline = :pipeline) ORDER BY epoch, pipeline"
)


_LONGEST = 40


@click.command(help="Why a verdict is what it is.")
@click.argument("id", metavar="[EPOCH-]TRIGGER")
@place.option
@click.option("--pipeline", default="", help="Only of this pipeline.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="PNG to write: the picture, or a chart of a window's reasons."
)
@as_json
def command(id: str, config_file: Path, pipeline: str, out: Path | None, *, as_json: bool) -> None:  # noqa: A002
    """Tell what is known of the verdicts of a trigger; `edge-agent verdicts` lists their numbers."""
    settings = place.load(config_file)
    epoch, trigger = _parse(id)
    rows = place.select(settings, _SQL, {"trigger": trigger, "epoch": epoch, "pipeline": pipeline})
    if not rows:
        message = f"no verdict of trigger {id} is on record" + (f" for pipeline {pipeline!r}" if pipeline else "")
        hint = "edge-agent verdicts lists what is; an OK takes two seconds to be there, [store] keep_rows goes after it"
        raise ConfigError(message, hint)
    found = [_explain(settings, row) for row in rows]
    if out is not None:
        _write_picture(found, out)
    if as_json:
        show_json([_as_json(row, exhibit, picture) for row, exhibit, picture in found])
    else:
        for row, exhibit, picture in found:
            click.echo("\n".join(sentences(row, exhibit, picture)))


def _explain(settings: Config, row: dict[str, Any]) -> tuple[dict[str, Any], Exhibit | None, Path | None]:
    """A verdict with its exhibit and its picture, where they are still there."""
    folder = settings.data_dir / FOLDER
    exhibit = read_exhibit(folder / f"{file_name(row['epoch'], row['trigger'], row['pipeline'])}.json")
    if exhibit is None:
        noted = windows.find(folder / WINDOWS, row["epoch"], row["trigger"])
        exhibit = next((each for each in noted if each.explanation.pipeline == row["pipeline"]), None)
    picture = folder / Path(exhibit.picture).name if exhibit is not None and exhibit.picture else None
    return row, exhibit, picture if picture is not None and picture.is_file() else None


def _write_picture(found: list[tuple[dict[str, Any], Exhibit | None, Path | None]], out: Path) -> None:
    pictures = {row["pipeline"]: image for row, exhibit, picture in found if (image := _image(exhibit, picture))}
    if not pictures:
        message = "there is no picture of it: " + sentences(*found[0])[-1].strip()
        raise ConfigError(message, "without --out the reasons are told; [store] exhibits_mb says how much is kept")
    if len(pictures) > 1:
        message = f"{len(pictures)} pipelines have a picture of it: {', '.join(pictures)}"
        raise ConfigError(message, "choose one with --pipeline")
    try:
        out.write_bytes(next(iter(pictures.values())))
    except OSError as error:
        message = f"{out}: {error.strerror}"
        raise ConfigError(message, "choose a file that can be written") from error


def _image(exhibit: Exhibit | None, picture: Path | None) -> bytes:
    """The kept picture, or of a window a chart of its reasons; nothing where neither is there."""
    if picture is not None:
        with suppress(OSError):  # pushed out since we looked
            return picture.read_bytes()
    if exhibit is None or not exhibit.explanation.reasons:
        return b""
    from edge_agent.diagnostics.chart import draw_chart

    return draw_chart(exhibit)


def _as_json(row: dict[str, Any], exhibit: Exhibit | None, picture: Path | None) -> dict[str, Any]:
    why = {} if exhibit is None else msgspec.to_builtins(exhibit) | {"explanation": _full(exhibit)}
    return row | why | {"picture": str(picture) if picture is not None else None}


def _full(exhibit: Exhibit) -> dict[str, Any]:
    """The explanation without what the row says already."""
    found: dict[str, Any] = msgspec.to_builtins(exhibit.explanation)
    return {name: value for name, value in found.items() if name not in ("kind", "epoch", "trigger", "pipeline")}


def _parse(number: str) -> tuple[int | None, int]:
    epoch, dash, trigger = number.rpartition("-")
    if not trigger.isdecimal() or (dash and not epoch.isdecimal()) or len(number) > _LONGEST:
        message = f"{number!r} names no verdict"
        raise ConfigError(message, "give the trigger's number as edge-agent verdicts shows it: 4711, or epoch-4711")
    # Beyond what SQLite counts to there is nothing, and it would say so less kindly.
    return (min(int(epoch), 2**62) if dash else None), min(int(trigger), 2**62)
