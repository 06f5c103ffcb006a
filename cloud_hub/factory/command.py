"""What every recipe's command line does: build, skip what has not changed, and tell what was measured."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cloud_hub.errors import HubError, LeftOut
from cloud_hub.factory.bundle_writer import check_place
from cloud_hub.factory.card import read_card
from cloud_hub.factory.run import Say, describe
from edge_agent.errors import InferenceError
from edge_protocol import bundle
from edge_protocol.errors import ManifestError

BUNDLES = Path(".lineside/bundles")


def run_recipe(build: Callable[[Path, Say], Path], recipe: Path) -> None:
    """Read the arguments, build the bundle of `recipe` and exit: 0, or 2 with cause and cure.

    What others publish and this machine cannot get leaves the model out, with a sentence and exit code 0.
    """
    parser = argparse.ArgumentParser(description=f"Make the bundle of {recipe.parent.name}.")
    parser.add_argument("--out", type=Path, default=BUNDLES, help="folder of bundles (default: %(default)s)")
    parser.add_argument("--if-changed", action="store_true", help="keep a bundle that the same code and data made")
    parser.add_argument("--report", action="store_true", help="print what was measured")
    options = parser.parse_args()
    folder = options.out / recipe.parent.name
    try:
        if options.if_changed and is_current(folder, recipe):
            _say(f"{folder} is made of this code and data")
        else:
            card = read_card(recipe.parent / "card.toml")["model"]
            check_place(folder, card["name"], card["version"])  # before the work, not after it
            if options.if_changed and folder.exists():
                _say(f"{folder} is built anew: what is there was made by other code, data or packages")
            build(options.out, _say)
        if options.report:
            sys.stdout.write("".join(f"{line}\n" for line in report(folder)))
    except LeftOut as error:
        _say(f"{recipe.parent.name} is left out: {error}; {error.hint}")
    except (HubError, InferenceError, OSError) as error:
        _say(str(error))
        _say(getattr(error, "hint", ""))
        raise SystemExit(2) from error


def is_current(folder: Path, recipe: Path) -> bool:
    """Whether a whole bundle is there that was made by this recipe, this code and these packages."""
    try:
        manifest, _digest = bundle.load(folder)
    except ManifestError:
        return False
    return describe(recipe).items() <= manifest.lineage.items()


def report(folder: Path) -> list[str]:
    """What the card of a bundle says was measured, a line each."""
    measured: dict[str, Any] = read_card(folder / "card.toml")["measured"]
    return [f"{folder.name}: {name}: {_told(figure)}" for name, figure in measured.items()]


def _told(figure: Any) -> str:
    if isinstance(figure, dict):
        return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}] of {figure['n']}"
    return f"{figure:.3f}"


def _say(text: str) -> None:
    if text:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
