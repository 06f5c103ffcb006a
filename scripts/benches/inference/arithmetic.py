"""What integers are worth on this processor: each network in single precision against its int8 variant, in turns."""

from collections.abc import Callable, Mapping
from time import perf_counter

import numpy as np
import numpy.typing as npt

from cloud_hub.factory.quantize import quantize
from edge_agent.inference.audit import audit
from edge_agent.inference.engine import Engine, optimise
from scripts.benches import pairs
from scripts.benches.ground import supplies
from scripts.benches.ground.arithmetic import backbone
from scripts.benches.ground.supplies import say
from scripts.benches.inference.networks import SIDE, resnet18

FIGURES = {
    "int8_speedup_resnet18": "a ResNet-18: time in fp32 ÷ time in integers as this processor gets them (VNNI: ≥ 3)",
    "int8_speedup_lite0": "the backbone of surface-anomaly, all in integers: the same (VNNI: ≥ 2)",
    "int8_speedup_surface": "surface-anomaly whole, as it is shipped: the same (stated)",
}

SLICES = 21
SLICE_S = 0.15
CALIBRATION = 8
FLOAT = "fp32"

Tensors = Mapping[str, npt.NDArray[np.float32]]


def measure() -> dict[str, float]:
    """The three speed-ups; 1 where this processor gets no int8 variant."""
    manifest, variant = supplies.chosen_variant(supplies.SURFACE)
    if variant == FLOAT:
        say("there is no int8 variant for this processor")
        return dict.fromkeys(FIGURES, 1.0)
    folder = supplies.BUNDLES / supplies.SURFACE
    whole = {name: (folder / manifest.variant(name).file).read_bytes() for name in (FLOAT, variant)}
    side = (1, 3, manifest.input.height, manifest.input.width)  # type: ignore[union-attr]  # it is a picture's
    tensors = {manifest.input.tensor: np.random.default_rng(1).standard_normal(side, np.float32)}
    body, name = backbone(whole[FLOAT]), manifest.input.tensor
    return {
        "int8_speedup_resnet18": _quantized("a ResNet-18", resnet18(), "image", variant),
        "int8_speedup_lite0": _quantized("the lite0 backbone", body, name, variant),
        "int8_speedup_surface": _speedup("surface-anomaly whole", whole, variant, tensors),
    }


def _quantized(what: str, floats: bytes, tensor: str, variant: str) -> float:
    """All in integers, with the ranges of noise: its answers mean nothing, its work is that of the network."""
    rng = np.random.default_rng(2)
    noise = [rng.standard_normal((1, 3, SIDE, SIDE), np.float32) for _ in range(CALIBRATION)]
    models = {FLOAT: floats, variant: quantize(floats, tensor, noise)[variant]}
    return _speedup(what, models, variant, {tensor: noise[0]})


def _speedup(what: str, models: Mapping[str, bytes], variant: str, tensors: Tensors) -> float:
    rates = {name: _rate(model, tensors) for name, model in models.items()}
    found = pairs.ratios(rates[variant], rates[FLOAT], SLICES)
    spent = ", ".join(f"{name} {1000 / rate():.2f} ms" for name, rate in rates.items())
    looked = audit(optimise(models[variant]))
    share = f"{looked.integer} of {looked.compute} compute nodes in integers"
    say(f"{what}, one thread: {spent}; {share}; speed-up {pairs.told(found)}")
    return pairs.median(found)


def _rate(model: bytes, tensors: Tensors) -> Callable[[], float]:
    engine = Engine(model)
    engine.warm_up(tensors)

    def rate() -> float:
        start_s, runs = perf_counter(), 0
        while perf_counter() - start_s < SLICE_S:
            engine.run(tensors)
            runs += 1
        return runs / (perf_counter() - start_s)

    return rate
