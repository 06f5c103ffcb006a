"""How person-zone is made: `python models/person-zone/recipe.py --out DIR` writes DIR/person-zone.

From a published detector of the COCO classes and a published video of a yard to a bundle that says whether somebody is
in a zone. Nothing is trained here: the network is translated, and quantized where it judges as before.
"""

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from cloud_hub.errors import FactoryError
from cloud_hub.factory import (
    accuracy_guard,
    agreement,
    datasets,
    evaluate,
    hard_swish,
    quantize,
    rounding_noise,
    tfjs_run,
    yard,
)
from cloud_hub.factory.accuracy_guard import Comparison, NotHeld
from cloud_hub.factory.bundle_writer import write_bundle
from cloud_hub.factory.card import read_card
from cloud_hub.factory.command import run_recipe
from cloud_hub.factory.completion import Findings, complete
from cloud_hub.factory.drift_reference import make_steady_reference
from cloud_hub.factory.evaluate import Figure, Scores
from cloud_hub.factory.fetch import NpmPackage
from cloud_hub.factory.goldens import Candidate, choose_goldens
from cloud_hub.factory.run import Run, Say
from cloud_hub.factory.tfjs import read_network
from cloud_hub.factory.tfjs_run import TfjsModel
from cloud_hub.factory.tfjs_to_onnx import to_onnx
from edge_agent.inference import signals
from edge_agent.inference.engine import Engine
from edge_agent.inference.model import Model
from edge_protocol.bundle import (
    Budget,
    DetectionOutput,
    Golden,
    ImageInput,
    Licence,
    Manifest,
    OperatingPoint,
    Trained,
    Zone,
)

HERE = Path(__file__).resolve().parent
NATIVE = ("fp32",)
"""Variants that any x86 computes as they are meant. The others are computed node by node here: exact, and slow."""

ARITHMETICS = tuple(each for each in quantize.ARITHMETICS if each.variant.name != "u8s8-7bit")
"""Seven bits are not tried: they are coarser than eight."""

INTEGER = "Conv"
"""Only convolutions are computed in integers: what lies between them costs more in noise than it saves in time."""

HEADS = ("254_Conv", "255_Mul", "257_Conv", "258_Sigmoid", "259_Transpose", "260_Transpose")
"""Always in float: thresholds are asked of what they make, and eight bits of a logit are coarse steps of a score."""

DETECTOR = NpmPackage("@vladmandic/human", "3.3.6", "425e9c51dbbca0c8934362b170cb0d54c2529c11c654b3c03092b16e9d6ad3f7")
GRAPH, WEIGHTS = "models/centernet.json", "models/centernet.bin"
HEAT, SIDES, DETECTIONS = "tower_0/keypoints", "tower_0/wh", "tower_0/detections"
SIDE = 512
_COCO = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, "
    "parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, "
    "handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, "
    "broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, "
    "mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, "
    "teddy bear, hair drier, toothbrush"
)
CLASSES = tuple(_COCO.split(", "))

FRAMES = yard.FRAMES
CALIBRATION = range(0, 240, 10)
TUNING = range(3, 260, 4)
EVALUATION = range(260, FRAMES, 5)
EXACT = range(260, FRAMES, 20)
GUARD = range(262, FRAMES, 10)
"""Frames of the video: calibrated and tuned is on the first, compared on later ones, and the guard has its own."""

NOISE_EVERY, GUARD_THREADS = 6, 2
RANKED, NEAR = 0.05, 0.05
"""The guard ranks what is too weak to be told of as well: else all of that would be alike, at zero. Where scores are
this near to a threshold, rounding decides."""

EVERYDAY = ("astronaut.png", "coffee.png", "chelsea.png", "motorcycle_left.png", "motorcycle_right.png", "rocket.jpg")

ZONE = Zone(
    name="taped area",
    polygon=tuple(
        (round(x / yard.WIDTH, 4), round(y / yard.HEIGHT, 4))
        for x, y in (
            # Along the back of the bay, from the left edge of the picture to the stone at its right end,
            *((0, 146), (70, 146), (255, 160), (340, 170), (400, 156), (475, 128), (540, 128), (606, 138)),
            # and back along the feet of the cones that hold the tape, about a step of ground before them.
            *((607, 165), (447, 220), (299, 229), (171, 228), (42, 212), (0, 206)),
        )
    ),
    classes=("person",),
)
POINT = OperatingPoint(accept=0.37, reject=0.4, zones=(ZONE,))
CONTRACT = ImageInput(tensor="image", width=SIDE, height=SIDE)
OUTPUT = DetectionOutput(classes=CLASSES, boxes="sides", scores="heat", form="centernet", min_score=0.25)
TOLERANCE, EXACT_TOLERANCE = 0.12, 0.02
"""How far the score of a golden may be from what TensorFlow.js says of it: of any variant, and of fp32."""

LICENCES = (
    Licence(
        what="network and weights", licence="MIT", origin="@vladmandic/human 3.3.6 (npm), after mobilenetv3_centernet"
    ),
    Licence(
        what="yard, its frames and the empty yard of the goldens", licence="Apache-2.0", origin="OpenCV sample data"
    ),
    Licence(what="portrait in the goldens", licence="CC0-1.0", origin="NASA, by scikit-image"),
    Licence(what="zone, thresholds", licence="Apache-2.0", origin="Lineside"),
)

Picture = npt.NDArray[np.uint8]


def build(out: Path, say: Say) -> Path:
    """Make the bundle in `out`; its folder."""
    card = read_card(HERE / "card.toml")["model"]
    run = Run(HERE / "recipe.py", 8, say)
    with tempfile.TemporaryDirectory(prefix="lineside-") as name:
        work = Path(name)
        theirs, frames, digests = collect(run, work)
        exact = convert(run, theirs)
        ranked = msgspec.structs.replace(
            draft(card, run, ["fp32"]), output=msgspec.structs.replace(OUTPUT, min_score=RANKED)
        )
        ranking = load(work / "ranked", ranked, {"fp32": exact}, "fp32")
        check_point(run, ranking, frames)
        models, tried = quantized(run, ranking, exact, frames)
        manifest = draft(card, run, models)
        loaded = {name: load(work / "draft", manifest, models, name) for name in models}
        measured = judge(run, frames, loaded) | tried
        goldens, files = settle_goldens(run, theirs, frames, loaded, work)
        run.step(f"reference: the light of {FRAMES} frames")
        lights = [signals.of_image(frame) for frame in frames]
        reference = make_steady_reference({key: np.array([light[key] for light in lights]) for key in lights[0]})
    return complete(run, out, manifest, models, Findings(goldens, files, reference, measured, digests))


def collect(run: Run, work: Path) -> tuple[TfjsModel, list[Picture], dict[str, str]]:
    """The detector's two files, the frames of the yard, and their digests."""
    run.step("collect: a CenterNet of the COCO classes (npm), the video of a yard (OpenCV's sample data)")
    video = yard.find_video()
    graph, weights = DETECTOR.extract([GRAPH, WEIGHTS], work)
    tfjs_run.require()
    digests = {path.name: datasets.digest_of(path) for path in (graph, weights, video)}
    return TfjsModel(graph, weights, (SIDE, SIDE)), yard.read_frames(video), digests


def convert(run: Run, theirs: TfjsModel) -> bytes:
    """The network as ONNX, down to its raw heads: the tail that decodes them is our postprocess."""
    run.step("convert: nodes and weights of TensorFlow.js, written as ONNX")
    network = read_network(theirs.graph, theirs.weights)
    return hard_swish.fuse(to_onnx(network, CONTRACT.tensor, {HEAT: OUTPUT.scores, SIDES: OUTPUT.boxes}, "person-zone"))


def check_point(run: Run, exact: Model, frames: Sequence[Picture]) -> None:
    """See that accept is the middle of the widest gap between the scores of the tuning frames, as the card says.

    Raises:
        FactoryError: it is not.
    """
    run.step(f"point: the widest gap between the scores of {len(TUNING)} frames that nothing is compared on")
    scores = np.sort(scores_of(exact, exact.engine, quantize.tensors_of(CONTRACT, (frames[n] for n in TUNING))))
    at = int(np.diff(scores).argmax())
    middle = round(float(scores[at : at + 2].mean()), 2)
    run.note(f"nothing between {scores[at]:.3f} and {scores[at + 1]:.3f}: accept {middle}")
    if middle != POINT.accept:
        message = f"accept is {POINT.accept}, and the middle of the widest gap between the scores is {middle}"
        raise FactoryError(message, f"set POINT in {HERE.name}/recipe.py to it, and say so in the card")


def quantized(
    run: Run, exact: Model, model: bytes, frames: Sequence[Picture]
) -> tuple[dict[str, bytes], dict[str, Figure | float]]:
    """The variants that judge as `exact`, the float `model`, does, and what the accuracy guard found of each attempt.

    They are tried as one: signed activations are the unsigned ones less 128, and come to the same numbers.
    """
    names = [each.variant.name for each in ARITHMETICS]
    run.step(f"quantize: {', '.join(names)}, under the accuracy guard on {len(GUARD)} frames")
    # The yard alone would narrow the ranges to its own colours: whoever is dressed otherwise must still be seen.
    pictures = [*(frames[n] for n in CALIBRATION), *map(datasets.photograph, EVERYDAY)]
    tensors = quantize.tensors_of(CONTRACT, pictures)
    guard = quantize.tensors_of(CONTRACT, (frames[n] for n in GUARD))
    wanted = scores_of(exact, exact.engine, guard)
    near = {f"fp32 within {NEAR} of accept": evaluate.share(int((abs(wanted - POINT.accept) < NEAR).sum()), len(GUARD))}
    with quantize.prepared(model, CONTRACT.tensor, tensors, [INTEGER]) as quantizer:

        def make(in_float: Sequence[str]) -> bytes:
            return quantizer.make(ARITHMETICS[0], [*HEADS, *in_float])

        def compare(rounded: bytes) -> Comparison:
            engine = Engine(rounded, threads=GUARD_THREADS, optimise=False)
            found = accuracy_guard.compare(wanted, scores_of(exact, engine, guard), wanted >= POINT.accept, POINT)
            run.note(str(found))
            return found

        def worst_first() -> list[str]:
            samples = tensors[::NOISE_EVERY]
            found = rounding_noise.by_node(quantizer.prepared, make(()), CONTRACT.tensor, samples)
            # By what each brings, not by its worth: the noisiest are early and large, and no others make up for them.
            convolutions = [noise for noise in found if noise.node.endswith(INTEGER) and noise.node not in HEADS]
            return [noise.node for noise in sorted(convolutions, key=lambda noise: -noise.share)]

        try:
            guarded = accuracy_guard.search(make, compare, worst_first, f"int8 ({', '.join(names)})")
        except NotHeld as error:
            run.note(f"left out: {error}")
            return {"fp32": model}, near | told(error.attempts)
        variants = {each.variant.name: quantizer.make(each, [*HEADS, *guarded.in_float]) for each in ARITHMETICS}
    return {"fp32": model, **variants}, near | told({0: guarded.before, len(guarded.in_float): guarded.after})


def scores_of(model: Model, engine: Engine, tensors: Sequence[npt.NDArray[Any]]) -> Scores:
    """What the production path makes of what an engine says of tensors."""
    return np.array([model.conclude(engine.run({CONTRACT.tensor: tensor})).score for tensor in tensors])


def told(attempts: Mapping[int, Comparison]) -> dict[str, Figure | float]:
    """What the guard found, for the card. There are no labels: fp32 is what ranks and verdicts are compared with."""
    figures: dict[str, Figure | float] = {}
    for count, found in attempts.items():
        same = evaluate.share(round(found.agreement * len(GUARD)), len(GUARD))
        figures[f"int8, heads and {count} nodes in float: passed or stopped as by fp32"] = same
        figures[f"int8, heads and {count} nodes in float: auroc of fp32's verdicts"] = 1 - found.loss
        figures[f"int8, heads and {count} nodes in float: rank correlation"] = found.rank
    return figures


def draft(card: dict[str, Any], run: Run, models: Collection[str]) -> Manifest:
    """The manifest but for goldens, reference and card."""
    return Manifest(
        schema=1,
        name=card["name"],
        version=card["version"],
        task="detection",
        input=CONTRACT,
        output=OUTPUT,
        operating_point=POINT,
        variants=quantize.variants(models),
        files={},
        requires=("detection", "area-pyramid"),
        budget=Budget(rss_mb=400, latency_ms=1000.0),
        objective=card["objective"],
        capture="none",
        licences=LICENCES,
        lineage=run.lineage,
    )


def load(folder: Path, manifest: Manifest, models: Mapping[str, bytes], name: str) -> Model:
    """The production model of a variant."""
    if not folder.exists():
        write_bundle(folder, manifest, {f"{name}.onnx": model for name, model in models.items()})
    return Model.load(folder, variant=name, optimise=name in NATIVE)


def judge(run: Run, frames: Sequence[Picture], models: Mapping[str, Model]) -> dict[str, Figure | float]:
    """Detections per frame and how each variant agrees with fp32, on frames later than the calibration's."""
    run.step(f"compare: {len(EVALUATION)} later frames through the production path; no labels, so no accuracy")
    measured: dict[str, Figure | float] = {}
    seen: dict[str, dict[int, agreement.Seen]] = {}
    for name, model in models.items():
        places = EVALUATION if name in NATIVE else EXACT
        began_s = perf_counter()
        seen[name] = {n: agreement.look(model, frames[n]) for n in places}
        per_s = len(places) / (perf_counter() - began_s)
        compared = agreement.compare([seen["fp32"].get(n) or agreement.look(models["fp32"], frames[n]) for n in places],
                                     list(seen[name].values()), "person", POINT.reject)  # fmt: skip
        own = () if name != "fp32" else ("same verdict as fp32", "persons of fp32 found again")
        measured |= {f"{name} {key}": figure for key, figure in compared.items() if key not in own}
        # Of this machine at this moment: told, and not in the bundle, which is to be the same when it is made again.
        told = "as on the line, one thread" if name in NATIVE else "node by node, slower than on its processor"
        run.note(f"{name}: " + ", ".join(agreement.tell(compared)) + f"; {per_s:.1f} frames/s here, {told}")
    return measured


def scenes(frames: Sequence[Picture]) -> Iterator[tuple[str, str, Picture]]:
    """Pictures without anyone who was filmed: the empty yard, with a portrait in the zone, beyond it, or without."""
    empty = yard.empty(frames)
    yield "empty", "OK", empty
    for height in (150, 170, 190, 210):
        for x in (60, 120, 180, 240, 300, 330):
            yield "inside", "NG", yard.with_portrait(empty, height, (x, 220))
            yield "outside", "OK", yard.with_portrait(empty, height, (x + 60, 520))


def settle_goldens(
    run: Run, theirs: TfjsModel, frames: Sequence[Picture], models: Mapping[str, Model], work: Path
) -> tuple[list[Golden], dict[str, bytes]]:
    """Goldens that all variants judge alike, each with what TensorFlow.js itself says of it."""
    run.step("goldens: chosen by margin, then run by TensorFlow.js itself under Node.js")
    made = list(scenes(frames))
    candidates = [
        Candidate(group, verdict, f"goldens/{group}-{n}.png", cv2.imencode(".png", picture)[1].tobytes())
        for n, (group, verdict, picture) in enumerate(made)
    ]
    goldens, files = choose_goldens(models, candidates)
    pictures = {candidate.file: picture for candidate, (_, _, picture) in zip(candidates, made, strict=True)}
    shown = [np.ascontiguousarray(pictures[golden.file][:, :, ::-1]) for golden in goldens]
    found = tfjs_run.run(theirs, [DETECTIONS], shown, work / "tfjs")
    scores = [worst_in_zone(detections.reshape(-1, 6)) for (detections,) in found]
    for golden, score in zip(goldens, scores, strict=True):
        off = {name: abs(expected.score - score) for name, expected in golden.expect.items()}
        run.note(
            f"{golden.file}: TensorFlow.js {score:.3f}, off by {', '.join(f'{n} {v:.3f}' for n, v in off.items())}"
        )
        if off["fp32"] > EXACT_TOLERANCE or max(off.values()) > TOLERANCE:
            message = f"{golden.file}: TensorFlow.js says {score:.3f}, and a variant is too far from it"
            raise FactoryError(message, "look at the conversion before anything else")
    told = f"TensorFlow.js {tfjs_run.FRAMEWORK.version}, its CPU backend, resize and decoding, from the PNG's pixels"
    return [
        msgspec.structs.replace(golden, trained=Trained(score=score, tolerance=TOLERANCE, framework=told))
        for golden, score in zip(goldens, scores, strict=True)
    ], files


def worst_in_zone(detections: npt.NDArray[np.float32]) -> float:
    """The strongest person whose feet are in the zone, of rows x1 y1 x2 y2 score class as TensorFlow.js gives them."""
    polygon = np.array(ZONE.polygon, np.float32)
    persons = detections[(detections[:, 5] == CLASSES.index("person")) & (detections[:, 4] >= OUTPUT.min_score)]
    feet = [(float(x1 + x2) / 2 / SIDE, float(y2) / SIDE) for x1, _, x2, y2, _, _ in persons]
    inside = [cv2.pointPolygonTest(polygon, foot, measureDist=False) >= 0 for foot in feet]
    return max((float(score) for score, is_in in zip(persons[:, 4], inside, strict=True) if is_in), default=0.0)


if __name__ == "__main__":
    run_recipe(build, HERE / "recipe.py")
