"""What integers are worth on this processor: the backbone in single precision against itself in integers, in turns."""

from functools import partial

import numpy as np
import onnx

from cloud_hub.factory.anomaly_head import PREFIX
from cloud_hub.factory.quantize import quantize
from edge_agent.inference.engine import Engine
from scripts.benches import pairs
from scripts.benches.ground import supplies
from scripts.benches.ground.supplies import say

RUNS = 10
CALIBRATION = 8
SLICES = 21
FLOAT = "fp32"


def measure() -> dict[str, float]:
    """The figure of the arithmetic, every node in integers; 1 where this processor gets no int8 variant."""
    manifest, variant = supplies.chosen_variant(supplies.SURFACE)
    folder = supplies.BUNDLES / supplies.SURFACE
    side = (1, 3, manifest.input.height, manifest.input.width)  # type: ignore[union-attr]  # it is a picture's
    noise = list(np.random.default_rng(1).standard_normal((CALIBRATION, *side), np.float32))
    tensors = {manifest.input.tensor: noise[0]}
    floats = backbone((folder / manifest.variant(FLOAT).file).read_bytes())
    models = {FLOAT: floats, variant: quantize(floats, manifest.input.tensor, noise).get(variant, floats)}
    rates = {}
    for name, model in models.items():
        engine = Engine(model)
        engine.warm_up(tensors)
        rates[name] = pairs.rate_of(partial(engine.run, tensors), RUNS)
    found = pairs.ratios(rates[variant], rates[FLOAT], SLICES)
    times_ms = {name: 1000 / rate() for name, rate in rates.items()}
    spent = ", ".join(f"{name} {ms:.2f} ms" for name, ms in times_ms.items())
    say(f"the backbone alone, one thread: {spent}; speed-up {pairs.told(found)}")
    return {"int8_speedup_lite0": pairs.median(found)}


def backbone(model: bytes) -> bytes:
    """The model without its head: its outputs are then what the head looked at."""
    proto = onnx.load_from_string(model)
    head = [node for node in proto.graph.node if node.name.startswith(PREFIX)]
    body = [node for node in proto.graph.node if not node.name.startswith(PREFIX)]
    made = {name for node in body for name in node.output}
    seen = dict.fromkeys(name for node in head for name in node.input if name in made)
    for field, kept in ((proto.graph.node, body), (proto.graph.output, list(map(_output, seen)))):
        del field[:]
        field.extend(kept)
    used = {name for node in body for name in node.input}
    weights = [weight for weight in proto.graph.initializer if weight.name in used]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(weights)
    # Two models were joined, and the quantizer takes one statement of the version only.
    versions = {each.domain: each.version for each in proto.opset_import}
    del proto.opset_import[:]
    proto.opset_import.extend(onnx.helper.make_opsetid(*each) for each in versions.items())
    content: bytes = proto.SerializeToString()
    return content


def _output(name: str) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
