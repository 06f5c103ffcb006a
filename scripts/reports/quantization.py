"""A folder of bundles comes in; of each int8 variant its size, speed here, float nodes and errors go out, as text."""

import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import onnx

from cloud_hub.factory.anomaly_head import PREFIX
from edge_agent.errors import InferenceError
from edge_agent.inference.hardware import architecture, cpu_flags
from edge_agent.inference.model import Model
from edge_agent.inference.variants import candidates
from edge_protocol import bundle
from edge_protocol.bundle import Manifest
from edge_protocol.errors import ManifestError
from scripts.benches import pairs

FLOAT = "fp32"
WEIGHED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
FIGURES = ("auroc lost", "same verdict", "rank correlation")
RUNS, SLICES = 10, 15


def report(bundles: Path) -> Iterator[str]:
    """Lines for each bundle of the folder that has int8 variants, and one for each that cannot be measured."""
    for folder in sorted(path.parent for path in bundles.glob(f"*/{bundle.MANIFEST}")):
        try:
            yield from _of_bundle(folder)
        except (ManifestError, InferenceError) as error:
            yield f"{folder.name}: not measured: {error}; build it anew: scripts/build_models {folder.name}"


def _of_bundle(folder: Path) -> Iterator[str]:
    manifest, _digest = bundle.load(folder)
    for variant in manifest.variants:
        if variant.name != FLOAT:
            yield from _of_variant(folder, manifest, variant.name)


def _of_variant(folder: Path, manifest: Manifest, name: str) -> Iterator[str]:
    size_mb, floats_mb = ((folder / manifest.variant(each).file).stat().st_size / 1e6 for each in (name, FLOAT))
    yield f"{folder.name} {name}: {size_mb:.1f} MB of {floats_mb:.1f}; {_speed_up(folder, manifest, name)}"
    yield f"  {told_floats(nodes_in_float(onnx.load(folder / manifest.variant(name).file)))}"
    measured = tomllib.loads((folder / manifest.card).read_text())["measured"] if manifest.card else {}
    for when in ("all in integers", "as shipped"):
        keys = {figure: f"{name} {when}: {figure}" for figure in FIGURES}
        if all(key in measured for key in keys.values()):
            yield f"  {when}: " + ", ".join(f"{figure} {measured[key]:.4f}" for figure, key in keys.items())


def nodes_in_float(model: onnx.ModelProto) -> list[str]:
    """The names of convolutions and multiplications whose weights are not integers."""
    makers = {output: node.op_type for node in model.graph.node for output in node.output}
    return [
        node.name
        for node in model.graph.node
        if node.op_type in WEIGHED and makers.get(node.input[1]) != "DequantizeLinear"
    ]


def told_floats(nodes: Sequence[str]) -> str:
    """Those of the backbone, which the card counts where the guard left them so, and those of the head, always so."""
    head = [node for node in nodes if node.startswith(PREFIX)]
    rest = [node for node in nodes if node not in head]
    return f"in float: {', '.join(rest) or 'none'}" + (f"; and always the head: {', '.join(head)}" if head else "")


def _speed_up(folder: Path, manifest: Manifest, name: str) -> str:
    if name not in {each.name for each in candidates(manifest, cpu_flags(), architecture())}:
        return "its speed is not to be had on this processor"
    ratio = pairs.told(pairs.ratios(_rate(folder, name), _rate(folder, FLOAT), SLICES))
    return f"{ratio} times as fast as {FLOAT} here, one thread, in turns"


def _rate(folder: Path, name: str) -> Callable[[], float]:
    model = Model.load(folder, variant=name)
    tensor = model.new_tensor()
    return pairs.rate_of(lambda: model.run(tensor), RUNS)
