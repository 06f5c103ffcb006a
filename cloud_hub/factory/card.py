"""A card as a person wrote it and the figures that were measured come in, the bundle's card goes out, as TOML."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cloud_hub.errors import FactoryError
from cloud_hub.factory.evaluate import Figure


def read_card(path: Path) -> dict[str, Any]:
    """The card's tables.

    Raises:
        FactoryError: it cannot be read or lacks its name or version.
    """
    try:
        card = tomllib.loads(path.read_text())
        card["model"]["name"], card["model"]["version"]
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        message = f"{path} is not a model card: {error}"
        raise FactoryError(message, "it needs [model] with name and version; compare models/*/card.toml") from error
    return card


def complete_card(text: str, data: Mapping[str, str], measured: Mapping[str, Figure | float]) -> str:
    """The written card with `[measured]`, one line a figure, and `[data.sha256]` appended."""
    lines = [text.rstrip(), "", "[data.sha256]"]
    lines += [f"{json.dumps(name)} = {json.dumps(digest)}" for name, digest in data.items()]
    lines += ["", "[measured] # value, 95 % interval and number of parts; or a plain number"]
    lines += [f"{json.dumps(name)} = {_render(figure)}" for name, figure in measured.items()]
    return "\n".join(lines) + "\n"


def _render(figure: Figure | float) -> str:
    if not isinstance(figure, Figure):
        return f"{figure:.6g}" if figure != round(figure) else f"{figure:.1f}"
    pairs = (
        f"{name} = {value:.4f}" if isinstance(value, float) else f"{name} = {value}"
        for name, value in asdict(figure).items()
    )
    return "{ " + ", ".join(pairs) + " }"
