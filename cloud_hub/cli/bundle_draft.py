"""`cloud-hub bundle new`, `check`, `golden`: a foreign ONNX model becomes a bundle, a person says what it cannot."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from cloud_hub.cli.printing import as_json, show_json, show_rows
from cloud_hub.errors import FactoryError

if TYPE_CHECKING:
    from cloud_hub.factory.newborn import Newborn
    from edge_protocol.bundle import Golden

P = ParamSpec("P")
T = TypeVar("T")

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)


def _with_factory(act: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    try:
        return act(*arguments, **named)
    except ImportError as error:
        message = f"making bundles needs the package {error.name}"
        raise FactoryError(message, "install Lineside with its extra [factory]: scripts/setup factory") from error


@click.command(
    "new", help="Write the draft of a bundle for an ONNX model: what can be read, what is guessed, what is open."
)
@click.argument("model", metavar="MODEL.onnx", type=_FILE)
@click.option("--out", type=_FOLDER, required=True, help="Folder to make.")
@click.option("--name", default="", help="Name of the bundle.  [default: the folder's]")
@as_json
def new(model: Path, out: Path, name: str, *, as_json: bool) -> None:
    """Write the draft, and tell of every field where it comes from."""
    newborn = _with_factory(_draft, model, out, name or out.name)
    if as_json:
        show_json({"folder": str(out), "manifest": newborn.manifest, "notes": newborn.notes})
        return
    for how in ("read", "guessed", "fill in"):
        click.echo(f"{how}:")
        for note in newborn.notes:
            if note.how == how:
                click.echo(f"  {note.field}: {note.text}")
    click.echo(f"The draft is in {out}. Edit manifest.json, then: cloud-hub bundle check {out}")


@click.command(
    "check", help="Say what of a draft is still to be filled in; with --finish make it a bundle when nothing is."
)
@click.argument("folder", metavar="FOLDER", type=_FOLDER)
@click.option("--finish", is_flag=True, help="Prove the model by its goldens, and take the draft's mark away.")
@as_json
def check(folder: Path, *, finish: bool, as_json: bool) -> None:
    """Exit 1 while something is open."""
    left = _with_factory(_open, folder)
    if finish and not left:
        digest = _with_factory(_finish, folder)
        if as_json:
            show_json({"folder": str(folder), "digest": digest})
        else:
            click.echo(f"{folder} is a bundle, {digest[:12]}. What comes next: cloud-hub publish {folder} --key FILE")
        return
    if as_json:
        show_json([{"field": where, "fill in": what} for where, what in left])
    else:
        nothing = f"Nothing is open. To prove it and make it a bundle: cloud-hub bundle check {folder} --finish"
        show_rows([{"field": where, "fill in": what} for where, what in left], nothing)
    if left:
        raise SystemExit(1)


@click.command(
    "golden", help="Judge an input as a gateway will, and keep it with what came out as a golden of the draft."
)
@click.argument("folder", metavar="FOLDER", type=_FOLDER)
@click.argument("data", metavar="INPUT", type=_FILE)
@click.option("--verdict", type=click.Choice(["OK", "NG", "REVIEW"]), required=True, help="What it must come to.")
@as_json
def golden(folder: Path, data: Path, verdict: str, *, as_json: bool) -> None:
    """Refuse an input that comes to another verdict: then something is filled in wrongly."""
    made = _with_factory(_golden, folder, data, verdict)
    if as_json:
        show_json(made)
    else:
        for name, expected in made.expect.items():
            told = f"score {expected.score:.4g}, {expected.margin:.4g} from a threshold"
            click.echo(f"{made.file}: {expected.verdict} by {name}, {told}")


VERBS = (new, check, golden)


def _draft(model: Path, out: Path, name: str) -> "Newborn":
    from cloud_hub.factory import newborn

    return newborn.write_draft(model, out, name)


def _open(folder: Path) -> list[tuple[str, str]]:
    from cloud_hub.factory import growing

    return growing.still_open(folder)


def _finish(folder: Path) -> str:
    from cloud_hub.factory import growing
    from edge_protocol import bundle

    growing.finish(folder)
    return bundle.load(folder)[1]


def _golden(folder: Path, data: Path, verdict: str) -> "Golden":
    from cloud_hub.factory import growing

    return growing.add_golden(folder, data, verdict)
