"""How surface-anomaly is made: `python models/surface-anomaly/recipe.py --out DIR` writes DIR/surface-anomaly.

From photographs of three surfaces to a bundle that says how far a part is from them: left halves teach, right halves
judge. The same code and data make the same bytes on one machine.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from cloud_hub.factory import anomaly_bundle, anomaly_head, anomaly_variants, datasets, efficientnet, evaluate
from cloud_hub.factory.anomaly_bundle import CONTRACT, Draft
from cloud_hub.factory.anomaly_variants import NATIVE, Lesson, patches_of
from cloud_hub.factory.command import run_recipe
from cloud_hub.factory.completion import Findings, complete
from cloud_hub.factory.drift_reference import make_reference
from cloud_hub.factory.evaluate import Figure, Judged, Labelled
from cloud_hub.factory.goldens import Candidate, choose_goldens
from cloud_hub.factory.quantize import tensors_of
from cloud_hub.factory.run import Run, Say
from cloud_hub.factory.second_opinion import by_reference
from cloud_hub.factory.weights import read_weights
from edge_agent.inference.model import Model
from edge_agent.sources.scenes import DEFECTS, TextureScene
from edge_protocol import counters, statistics
from edge_protocol.bundle import Licence, OperatingPoint
from edge_protocol.counters import Reference

HERE = Path(__file__).resolve().parent
TILES = 150
PROTOTYPES = 1000
SEEDS = {"upper": 21, "lower": 22, "head": 23, "flips": 24, "test": 25, "exact": 26, "reference": 27, "goldens": 28}
GUARD_SEED = 29
ACCEPT_QUANTILE, REJECT_QUANTILE = 0.98, 0.999
GUARD_PARTS = 400
TEST_PARTS, EXACT_PARTS, REFERENCE_PARTS, GOLDEN_PARTS = 200, 90, 2000, 24

LICENCES = (
    Licence(what="photographs of the surfaces", licence="CC0-1.0", origin="scikit-image"),
    Licence(what="head, thresholds, drawn defects", licence="Apache-2.0", origin="Lineside"),
)

Picture = npt.NDArray[np.uint8]
Tensors = list[npt.NDArray[Any]]
Floats = npt.NDArray[np.float32]


def build(out: Path, say: Say) -> Path:
    """Make the bundle in `out`; its folder."""
    run = Run(HERE / "recipe.py", 8, say)
    with tempfile.TemporaryDirectory(prefix="lineside-") as name:
        surfaces, digests = collect(run, Path(name))
        lesson = teach(run, surfaces, wrangle(run, surfaces, Path(name)))
        draft = anomaly_bundle.draft(run, lesson, LICENCES)
        measured = judge(run, surfaces, draft)
        reference, psi = refer(run, surfaces, draft)
        opinion = by_reference(draft.models["fp32"], CONTRACT)
        goldens, files = choose_goldens({n: m[0] for n, m in draft.loaded.items()}, list(candidates(surfaces)), opinion)
    findings = Findings(goldens, files, reference, measured | psi | anomaly_variants.told(draft.guarded), digests)
    return complete(run, out, draft.manifest, draft.models, findings)


def collect(run: Run, work: Path) -> tuple[Path, dict[str, str]]:
    """The photographs and the backbone's weights, with their digests."""
    run.step("collect: photographs of brick, grass and gravel; ImageNet weights of EfficientNet-Lite0")
    surfaces = datasets.stage_surfaces(work / "surfaces")
    digests = {path.name: datasets.digest_of(path) for path in sorted(surfaces.iterdir())}
    weights = efficientnet.weights_file()
    return surfaces, {**digests, weights.name: datasets.digest_of(weights)}


def wrangle(run: Run, surfaces: Path, work: Path) -> list[Tensors]:
    """Tiles of the left halves, upper and lower part apart, turned over at random, by the production preprocessor."""
    run.step(f"wrangle and split: {2 * TILES} tiles of the left halves in two folds that share no pixel")
    rng = np.random.default_rng(SEEDS["flips"])
    folds = []
    for folder in datasets.stage_folds(surfaces, work):
        scene = TextureScene(folder, SEEDS[folder.name], "whole", 0.0)
        tiles = (scene.draw(n)[0][:: rng.choice((-1, 1)), :: rng.choice((-1, 1))] for n in range(TILES))
        folds.append(tensors_of(CONTRACT, map(np.ascontiguousarray, tiles)))
    return folds


def teach(run: Run, surfaces: Path, folds: Sequence[Tensors]) -> Lesson:
    """What the folds teach, and parts that nothing was taught with."""
    run.step("features: feat16 and feat32 of the backbone, 196 patches a tile")
    backbone = efficientnet.make_backbone(read_weights(efficientnet.weights_file()))
    head, point = train(run, [patches_of(backbone, CONTRACT.tensor, fold) for fold in folds])
    parts, is_bad = guard_parts(surfaces)
    good = [tensor for fold in folds for tensor in fold]
    return Lesson(CONTRACT.tensor, backbone, head, point, good, tensors_of(CONTRACT, parts), is_bad)


def train(run: Run, patches: Sequence[Floats]) -> tuple[anomaly_head.Head, OperatingPoint]:
    """The head, and thresholds on the scores that each fold has under the prototypes of the other."""
    run.step(f"train: {PROTOTYPES} prototypes by greedy k-center; thresholds on held-aside tiles")
    head, held_aside = anomaly_head.fit_head(patches, PROTOTYPES, np.random.default_rng(SEEDS["head"]))
    accept, reject = (round(float(q), 4) for q in np.quantile(held_aside, [ACCEPT_QUANTILE, REJECT_QUANTILE]))
    run.note(f"OK below {accept}, NG from {reject}")
    return head, OperatingPoint(accept=accept, reject=reject)


def guard_parts(surfaces: Path) -> tuple[list[Picture], npt.NDArray[np.bool_]]:
    """Parts of the left halves, half of them with a drawn defect, and which these are."""
    scene = TextureScene(surfaces, GUARD_SEED, "left", 0.5)
    drawn = [scene.draw(n) for n in range(GUARD_PARTS)]
    return [picture for picture, _ in drawn], np.array([defect is not None for _, defect in drawn])


def judge(run: Run, surfaces: Path, draft: Draft) -> dict[str, Figure | float]:
    """Figures of each variant on parts of the right halves."""
    run.step("evaluate: parts of the right halves, half of them with a drawn defect, through the production path")
    measured: dict[str, Figure | float] = {}
    rng = np.random.default_rng(SEEDS["test"])
    for name, pair in draft.loaded.items():
        found = figures(surfaces, name, pair, rng)
        measured |= {f"{name} {key}": figure for key, figure in found.items()}
        run.note(f"{name}: " + ", ".join(f"{key} {found[key].value:.3f}" for key in evaluate.FIGURES))
    return measured


def refer(run: Run, surfaces: Path, draft: Draft) -> tuple[Reference, dict[str, float]]:
    """The drift reference of good parts of another seed, and how far each variant's scores are from it."""
    run.step(f"reference: {REFERENCE_PARTS} good parts of the right halves, {' and '.join(NATIVE)} in equal shares")
    scene = TextureScene(surfaces, SEEDS["reference"], "right", 0.0)
    parts = [scene.draw(n)[0] for n in range(REFERENCE_PARTS)]
    judged = {name: evaluate.judge_all(draft.loaded[name], parts[i :: len(NATIVE)]) for i, name in enumerate(NATIVE)}
    signals = {key: np.concatenate([j.signals[key] for j in judged.values()]) for key in judged["fp32"].signals}
    scores = np.concatenate([j.scores for j in judged.values()])
    reference = make_reference({**signals, "score": scores})
    return reference, {
        f"{name} psi of score against reference": psi_of_score(reference, share) for name, share in judged.items()
    }


def figures(surfaces: Path, name: str, pair: list[Model], rng: np.random.Generator) -> dict[str, Figure]:
    """The figures of a variant over all surfaces, and its AUROC on each, on the same parts for each variant."""
    scene = TextureScene(surfaces, SEEDS["test"], "right", 0.5)
    count = TEST_PARTS if name in NATIVE else EXACT_PARTS // len(datasets.SURFACES)
    scores, defects, kinds = [], [], []
    for surface in datasets.SURFACES:
        drawn = [scene.draw_on(surface, n) for n in range(count)]
        scores.append(evaluate.judge_all(pair, [picture for picture, _ in drawn]).scores)
        defects.append(np.array([defect is not None for _, defect in drawn]))
        kinds += [defect for _, defect in drawn]
    all_scores, is_bad = np.concatenate(scores), np.concatenate(defects)
    found = evaluate.figures(all_scores[~is_bad], all_scores[is_bad], pair[0].operating_point, rng)
    if name not in NATIVE:
        return found
    held_aside, bad = guard_parts(surfaces)
    chosen = evaluate.judge_all(pair, held_aside).scores
    found |= evaluate.trade_offs(Labelled(chosen[~bad], chosen[bad]), Labelled(all_scores[~is_bad], all_scores[is_bad]))
    for surface, s, bad in zip(datasets.SURFACES, scores, defects, strict=True):
        found[f"auroc {surface}"] = evaluate.auroc_figure(s[~bad], s[bad], rng)
    for defect in DEFECTS:
        found[f"auroc {defect}"] = evaluate.auroc_figure(
            all_scores[~is_bad], all_scores[np.array(kinds) == defect], rng
        )
    return found


def psi_of_score(reference: Reference, judged: Judged) -> float:
    """How far the scores of one variant are from the reference: its arithmetic must not look like drift."""
    signal = next(s for s in reference.signals if s.name == "score")
    return statistics.psi(np.array(signal.counts), counters.count(signal.edges, judged.scores))


def candidates(surfaces: Path) -> Iterator[Candidate]:
    """Parts of the right halves to choose golden samples from, as a camera would send them."""
    for share in (0.0, 1.0):
        scene = TextureScene(surfaces, SEEDS["goldens"], "right", share)
        for n in range(GOLDEN_PARTS if share else GOLDEN_PARTS // 3):
            picture, defect = scene.draw(n)
            encoded = cv2.imencode(".png", picture)[1].tobytes()
            yield Candidate(defect or "good", "NG" if defect else "OK", f"goldens/{defect or 'good'}-{n}.png", encoded)


if __name__ == "__main__":
    run_recipe(build, HERE / "recipe.py")
