"""`edge-agent infer`: files judged by a bundle through the very pipeline that the line runs."""

from pathlib import Path
from time import perf_counter
from typing import Any

import click

from edge_agent.cli import findings
from edge_agent.cli.printing import as_json, show_json, show_rows
from edge_agent.errors import ConfigError, InferenceError
from edge_agent.judgement import Prediction
from edge_agent.sample import Channel, Sample
from edge_protocol.bundle import ImageInput
from edge_protocol.codes import Verdict


@click.command(help="Judge files with a bundle, as the line would.")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--variant", default="", help="Variant of the model; without it the processor chooses.")
@click.option("--heatmap", type=click.Path(path_type=Path), help="Folder for pictures with what was found drawn in.")
@as_json
def command(bundle: Path, files: tuple[Path, ...], variant: str, heatmap: Path | None, *, as_json: bool) -> None:
    """Judge FILES (pictures, or .npy windows and tensors) in turn with the bundle in folder BUNDLE.

    A model with a state carries it from one file to the next. Exit code 1 if any is not OK.
    """
    from edge_agent.inference.model import Model

    model = Model.load(bundle, variant=variant or None)
    if heatmap is not None:
        _make_folder(heatmap)
    rows = [_judge(model, file, heatmap) for file in files]
    if as_json:
        show_json([row | row.pop("said") for row in rows])
    else:
        show_rows([{name: value for name, value in row.items() if name != "said"} for row in rows], "")
    if any(row["verdict"] != Verdict.OK.name for row in rows):
        raise SystemExit(1)


def _judge(model: Any, file: Path, heatmap: Path | None) -> dict[str, Any]:
    """A row of the table, and under `said` what only a program is told."""
    started = perf_counter()
    try:
        sample = Sample({model.preprocessor.channel: Channel(_read(file), 0)})
        prediction, signals = model.judge(sample)
        verdict, reason = model.verdict(prediction)
    except InferenceError as error:
        # What follows has no past any more, as on the line.
        model.forget()
        refused = {"file": str(file), "verdict": Verdict.UNINSPECTED.name, "reason": error.reason.name, "score": None}
        return refused | {"says": error.told, "said": {"detail": str(error), "hint": error.hint}}
    unit = "mm²" if getattr(model.manifest.input, "mm_per_px", 0.0) else "px"
    row: dict[str, Any] = {"file": str(file), "verdict": verdict.name, "reason": reason.name, "score": prediction.score}
    row |= {"says": findings.sentence(prediction, unit), "ms": round((perf_counter() - started) * 1e3, 2)}
    row |= {name: round(value, 4) for name, value in signals.items()}
    if heatmap is not None and isinstance(model.manifest.input, ImageInput):
        row["heatmap"] = str(_draw(model, sample, prediction, heatmap / f"{file.stem}-heatmap.png"))
    return row | {"said": findings.values(prediction, unit)}


def _draw(model: Any, sample: Sample, prediction: Prediction, path: Path) -> Path:
    from edge_agent.inference.overlay import draw_overlay

    path.write_bytes(draw_overlay(model.picture(sample), prediction, model.manifest.input, model.operating_point))
    return path


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        message = f"{file}: {error.strerror}"
        raise ConfigError(message, "give files that exist and can be read") from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{folder} cannot be made: {error.strerror}"
        raise ConfigError(message, "choose a folder that can be written") from error
