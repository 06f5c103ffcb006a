"""Pictures of good parts and some labelled ones come in, the bundle of an anomaly model of them goes out.

The recipe for parts of one's own: features of EfficientNet-Lite0, prototypes of good patches, thresholds on labelled
parts that nothing was taught with, figures on parts that nothing was chosen on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from cloud_hub.factory import anomaly_bundle, anomaly_head, anomaly_variants, efficientnet, evaluate
from cloud_hub.factory.anomaly_bundle import CONTRACT, Draft
from cloud_hub.factory.anomaly_variants import NATIVE, Lesson, patches_of, scores_of
from cloud_hub.factory.completion import Findings, complete
from cloud_hub.factory.datasets import digest_of
from cloud_hub.factory.drift_reference import make_reference
from cloud_hub.factory.evaluate import Figure, Labelled
from cloud_hub.factory.goldens import Candidate, choose_goldens
from cloud_hub.factory.graph import join
from cloud_hub.factory.quantize import tensors_of
from cloud_hub.factory.run import Run, Say
from cloud_hub.factory.second_opinion import by_reference, is_one_way
from cloud_hub.factory.weights import read_weights
from edge_agent.inference.model import Model
from edge_agent.inference.selftest import trace
from edge_protocol.bundle import Licence

PROTOTYPES, HEAD_SEED, FIGURES_SEED = 1000, 41, 42
MAX_OVERKILL, MAX_ESCAPE = 0.005, 0.02
"""At the operating point, of the labelled parts it is set on: REVIEW is what lies between."""

GOLDEN_CANDIDATES = 12

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
    """What is made of the parts: the recipe, with its card beside it, and whose data it is."""

    recipe: Path
    licences: tuple[Licence, ...]


def build(plan: Plan, parts: Parts, out: Path, say: Say) -> Path:
    """Make the bundle in `out`; its folder."""
    run = Run(plan.recipe, 5, say)
    run.step(f"features and prototypes: {sum(map(len, parts.folds))} good pictures in {len(parts.folds)} folds")
    lesson = _teach(efficientnet.make_backbone(read_weights(efficientnet.weights_file())), parts)
    run.note(f"OK below {lesson.point.accept}, NG from {lesson.point.reject}")
    draft = anomaly_bundle.draft(run, lesson, plan.licences)
    measured = _judge(run, parts, lesson, draft) | anomaly_variants.told(draft.guarded)
    run.step("goldens and reference: of the labelled parts")
    candidates = list(_candidates(parts, draft.loaded["fp32"][0]))
    wanted = (CONTRACT.height, CONTRACT.width)
    are_known = all(is_one_way(picture.shape, wanted) for pictures in parts.chosen for picture in pictures)
    opinion = by_reference(draft.models["fp32"], CONTRACT) if are_known else None
    goldens, files = choose_goldens({name: pair[0] for name, pair in draft.loaded.items()}, candidates, opinion)
    judged = evaluate.judge_all(draft.loaded["fp32"], parts.chosen[0])
    reference = make_reference({**judged.signals, "score": judged.scores})
    data = {name: digest_of(*sorted(p for p in path.rglob("*") if p.is_file())) for name, path in parts.sources.items()}
    return complete(run, out, draft.manifest, draft.models, Findings(goldens, files, reference, measured, data))


def turned(pictures: Sequence[Picture]) -> list[Picture]:
    """Each picture and its three mirror images."""
    return [np.ascontiguousarray(p[::y, ::x]) for p in pictures for y in (1, -1) for x in (1, -1)]


def _teach(backbone: bytes, parts: Parts) -> Lesson:
    folds = [tensors_of(CONTRACT, fold) for fold in parts.folds]
    patches = [patches_of(backbone, CONTRACT.tensor, fold) for fold in folds]
    head, _ = anomaly_head.fit_head(patches, PROTOTYPES, np.random.default_rng(HEAD_SEED))
    good, bad = (tensors_of(CONTRACT, pictures) for pictures in parts.chosen)
    model = join(backbone, anomaly_head.make_head(head))
    chosen = Labelled(*(scores_of(model, CONTRACT.tensor, each) for each in (good, bad)))
    point = evaluate.point_for(chosen, escape=MAX_ESCAPE, overkill=MAX_OVERKILL)
    is_bad = np.repeat([False, True], (len(good), len(bad)))
    order = np.random.default_rng(HEAD_SEED).permutation(len(is_bad))
    labelled = [*good, *bad]
    taught = [tensor for fold in folds for tensor in fold]
    return Lesson(CONTRACT.tensor, backbone, head, point, taught, [labelled[n] for n in order], is_bad[order])


def _judge(run: Run, parts: Parts, lesson: Lesson, draft: Draft) -> dict[str, Figure | float]:
    """Figures of each variant that computes here as it means, on parts that nothing was chosen on."""
    run.step(f"evaluate: {', '.join(parts.tested)}, through the production path")
    measured: dict[str, Figure | float] = {}
    rng = np.random.default_rng(FIGURES_SEED)
    for name in NATIVE:
        labelled = scores_of(draft.models[name], lesson.tensor, lesson.parts)
        chosen = Labelled(labelled[~lesson.is_bad], labelled[lesson.is_bad])
        for split, pictures in parts.tested.items():
            tested = Labelled(*(evaluate.judge_all(draft.loaded[name], each).scores for each in pictures))
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
