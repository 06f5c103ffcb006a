"""Baselines: a graph that is what is written down, a machine that stays well at any speed, a fault that is named."""

from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import pytest

from cloud_hub.errors import FactoryError
from cloud_hub.factory import baseline, severity
from cloud_hub.factory.baseline import Regime
from cloud_hub.factory.bundle_writer import write_bundle
from edge_agent import settings
from edge_agent.assembly import make_guard
from edge_agent.clock import Clock
from edge_agent.diagnostics import windows
from edge_agent.diagnostics.exhibit import WINDOWS
from edge_agent.diagnostics.exhibits import Exhibits
from edge_agent.inference.decision import Decider
from edge_agent.inference.model import Model
from edge_agent.inference.pipeline import Pipeline
from edge_agent.inference.preprocess import make_preprocessor
from edge_agent.inference.vibration.severity import zone
from edge_agent.judgement import Judgement
from edge_agent.sample import Channel, Sample, Trigger
from edge_protocol.bundle import Manifest, OperatingPoint, Variant, WindowAnomalyOutput
from edge_protocol.codes import Verdict
from edge_protocol.contract import Vibration, WindowInput
from edge_protocol.features import SPEED, feature_names
from tests.edge_agent.inference.vibration.machines import BEARING, RATE_HZ, Machine

LENGTH = 8192
SPEEDS_HZ = (20.0, 45.0)


def rows_of(rng: np.random.Generator, count: int = 400, size: int = 6) -> np.ndarray:
    """A machine with two speeds, at which everything is otherwise."""
    speed = rng.choice([10.0, 50.0], count) + rng.normal(0, 1, count)
    others = rng.normal(size=(count, size - 1)) * (1 + speed[:, None] / 10) + speed[:, None]
    return np.column_stack([others, speed])


def contract() -> WindowInput:
    """Windows of .4 s with the measured speed beside them."""
    about = Vibration(speed_channel="speed", bearing=BEARING, envelope_hz=(2_000.0, 4_500.0), bands=12)
    return WindowInput(
        tensor="features", length=LENGTH, rate_hz=RATE_HZ, channel="acceleration", features="vibration", vibration=about
    )


def sample(machine: Machine, seed: int, speed_hz: float) -> Sample:
    """What a gateway gets of it: the window, and one value of the speed."""
    window = machine.run(seed, LENGTH, speed_hz)
    return Sample({"acceleration": Channel(window, 0), "speed": Channel(np.array([speed_hz]), 0)})


def load(folder: Path, about: WindowInput, graph: bytes, point: OperatingPoint, parts: str = "parts") -> Model:
    """A bundle of a graph, loaded as a gateway does."""
    manifest = Manifest(
        schema=1,
        name="machine",
        version="1.0.0",
        task="window-anomaly",
        input=about,
        output=WindowAnomalyOutput(parts=parts),
        operating_point=point,
        variants=(Variant(name="fp32", file="fp32.onnx"),),
        files={},
        requires=("window-anomaly", "vibration"),
    )
    write_bundle(folder / "machine", manifest, {"fp32.onnx": graph})
    return Model.load(folder / "machine")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A baseline per speed of a good bearing, as a model; its thresholds from good windows held aside."""
    about = contract()
    preprocessor = make_preprocessor(about)
    model = None

    def features(seeds: range) -> np.ndarray:
        samples = [sample(Machine(), seed, SPEEDS_HZ[seed % 2] * (1 + 0.02 * (seed % 5))) for seed in seeds]
        decode = preprocessor.decode
        arrays = (decode((s.channels["acceleration"].data, s.channels["speed"].data)) for s in samples)  # type: ignore[arg-type]
        return np.stack([preprocessor.geometry(array) for array in arrays])

    good, aside = features(range(120)), features(range(1000, 1060))
    speed = feature_names(about).index(SPEED)
    made = baseline.fit(good, [baseline.bins_of(good, speed, 2)])
    held, _ = baseline.score(made, aside)
    point = OperatingPoint(accept=float(held.max()) * 1.2, reject=float(held.max()) * 2, persistence=(2, 3))
    model = load(tmp_path_factory.mktemp("bundle"), about, baseline.make_graph(made), point)
    model.operating_point = point
    return model


@pytest.mark.parametrize("method", ["mad", "mahalanobis"])
@pytest.mark.parametrize(
    "regimes",
    [(), (Regime(5, (30.0,)),), (Regime(5, (30.0,)), Regime(2, (0.5,))), (Regime(5, (10.0, 30.0, 50.0)),)],
)
def test_the_graph_is_what_is_written_down(method: str, regimes: tuple[Regime, ...], tmp_path: Path) -> None:
    """Score and parts of the graph are those of numpy, in every regime, and the parts add up to the score."""
    rng = np.random.default_rng(2)
    rows = np.abs(rows_of(rng, 2000)).astype(np.float32)
    rows[:, 2] = rng.random(2000)  # a load that does not follow the speed
    made = baseline.fit(rows, regimes, in_logs=(1, 3), method=method)  # type: ignore[arg-type]
    session = onnxruntime.InferenceSession(baseline.make_graph(made))
    others = np.abs(rows_of(rng, 60) * 3).astype(np.float32)

    scores, parts = baseline.score(made, others)

    for n, row in enumerate(others):
        found, found_parts = session.run(["score", "parts"], {"features": row[None]})
        np.testing.assert_allclose(found, scores[n : n + 1], rtol=2e-4, atol=1e-5)
        np.testing.assert_allclose(found_parts[0], parts[n], rtol=2e-3, atol=1e-4)
        assert found_parts.sum() == pytest.approx(found[0], rel=1e-4)


def test_what_is_well_scores_one() -> None:
    """Of rows like those it was made of, the mean score is that of squared deviations: one."""
    rng = np.random.default_rng(3)

    made = baseline.fit(rows_of(rng, 4000), [Regime(5, (30.0,))])

    assert baseline.score(made, rows_of(rng, 4000))[0].mean() == pytest.approx(1, abs=0.1)


def test_one_centre_for_two_speeds_sees_nothing() -> None:
    """Why there are regimes: what is odd at one speed is usual at the other."""
    rng = np.random.default_rng(4)
    good, odd = rows_of(rng, 2000), rows_of(rng, 400)
    odd = odd[odd[:, 5] > 30]
    odd[:, 0] = rng.normal(10, 2, len(odd))  # as at the low speed

    one, two = baseline.fit(good), baseline.fit(good, [Regime(5, (30.0,))])

    gain = [baseline.score(made, odd)[0].mean() / baseline.score(made, good)[0].mean() for made in (one, two)]
    assert gain[1] > 2 * gain[0]


def test_a_few_bad_rows_do_not_move_it() -> None:
    """Medians: a tenth of broken windows among those it is made of changes centre and spread little."""
    rng = np.random.default_rng(5)
    good = rng.normal(size=(1000, 4))
    spoilt = np.concatenate([good[:900], rng.normal(300, 5, (100, 4))])

    clean, dirty = baseline.fit(good), baseline.fit(spoilt)

    assert np.abs(clean.centre - dirty.centre).max() < 0.25
    assert np.abs(clean.spread / dirty.spread - 1).max() < 0.35


def test_how_features_go_together_counts() -> None:
    """Each value is usual by itself, their pair is not: only `mahalanobis` sees it."""
    rng = np.random.default_rng(6)
    load_ = rng.normal(size=2000)
    good = np.column_stack([load_, load_ + 0.1 * rng.normal(size=2000), rng.normal(size=(2000, 2))])
    odd = [[1.5, -1.5, 0.0, 0.0]]

    alone, together = (baseline.score(baseline.fit(good, method=m), odd)[0][0] for m in ("mad", "mahalanobis"))  # type: ignore[arg-type]

    assert alone < 2
    assert together > 20


def test_what_never_varies_is_no_division_by_nothing() -> None:
    """A feature that is always the same scores nothing while it stays, and much when it moves."""
    rows = np.column_stack([np.full(100, 7.0), np.random.default_rng(7).normal(size=100)])
    made = baseline.fit(rows)

    same, moved = (baseline.score(made, [[value, 0.0]])[1][0, 0] for value in (7.0, 7.5))

    assert same == 0
    assert moved > 10


def test_a_regime_without_rows_is_refused() -> None:
    """Nothing is said to be normal that was hardly seen; the cure is told."""
    rows = np.random.default_rng(8).normal(size=(100, 2))

    with pytest.raises(FactoryError, match="regime 2 of 2") as refused:
        baseline.fit(rows, [Regime(0, (5.0,))])
    assert "fewer" in refused.value.hint


@pytest.mark.parametrize("speed_hz", [20.4, 46.0])
def test_a_good_machine_stays_well_at_each_speed(machine: Model, speed_hz: float) -> None:
    """Through the production path, at two speeds: not one NG."""
    decider = Decider(machine.operating_point)

    verdicts = [decider.decide(machine.judge(sample(Machine(), seed, speed_hz))[0])[0] for seed in range(5000, 5020)]

    assert Verdict.NG not in verdicts


@pytest.mark.parametrize("fault", ["bpfo", "bpfi"])
@pytest.mark.parametrize("speed_hz", SPEEDS_HZ)
def test_a_fault_is_named(machine: Model, fault: str, speed_hz: float) -> None:
    """The score of a broken race is NG, and among the largest parts is one that bears the fault's name."""
    prediction, _ = machine.judge(sample(Machine(fault, strikes=6.0), 77, speed_hz))

    assert machine.verdict(prediction)[0] is Verdict.NG
    assert prediction.parts is not None
    names = feature_names(contract())
    assert prediction.features is not None
    worst = [names[n] for n in np.argsort(prediction.parts.reshape(-1))[::-1][:12]]
    assert any(name.startswith(fault) for name in worst), worst


def test_one_bad_window_is_not_yet_ng(machine: Model) -> None:
    """Two of three: a knock against the machine is REVIEW, a fault that stays is NG."""
    decider = Decider(machine.operating_point)
    good, bad = (machine.judge(sample(Machine(fault, strikes=8.0), 78, 20.0))[0] for fault in ("", "bpfo"))

    verdicts = [decider.decide(each)[0] for each in (good, bad, good, good, bad, bad)]

    assert [v.name for v in verdicts] == ["OK", "REVIEW", "OK", "OK", "REVIEW", "NG"]


@pytest.mark.parametrize(
    ("amplitude", "letter", "verdict"), [(1.0, "A", "OK"), (4.0, "B", "OK"), (8.0, "C", "REVIEW"), (20.0, "D", "NG")]
)
def test_zones_of_severity_are_verdicts(amplitude: float, letter: str, verdict: str, tmp_path: Path) -> None:
    """A shaft that shakes at a known velocity falls into its zone, from acceleration in m/s², scaled or not."""
    limits = severity.LIMITS_MM_S["15 to 300 kW", "flexible"]
    plain = WindowInput(
        tensor="features", length=LENGTH, rate_hz=RATE_HZ, features="vibration", vibration=Vibration(zones=limits)
    )
    size = len(feature_names(plain))
    about = msgspec.structs.replace(plain, mean=(3.0,) * size, std=(2.0,) * size)
    model = load(tmp_path, about, severity.make_graph(about), severity.operating_point(limits), parts="")
    turns = 2 * np.pi * 50 * np.arange(LENGTH) / RATE_HZ
    velocity = amplitude * 0.5**0.5

    prediction, _ = model.judge(Sample({"signal": Channel(amplitude / 1000 * 2 * np.pi * 50 * np.sin(turns), 0)}))

    assert prediction.score == pytest.approx(velocity, rel=0.01)
    assert zone(prediction.score, limits) == letter
    assert model.verdict(prediction)[0].name == verdict


def test_the_line_says_which_race_is_broken(machine: Model, tmp_path: Path) -> None:
    """Through guard, pipeline and exhibits: a bearing that breaks is REVIEW, then NG, and the first reasons name it."""
    table = settings.Pipeline(name="pump", bundle="machine", source="s", trigger="t")
    judgements: list[Judgement] = []
    exhibits = Exhibits(
        tmp_path, budget_bytes=2**20, model=lambda _name: machine, record=lambda _stream, _record: None, clock=Clock()
    )
    pipeline = Pipeline("pump", machine, guard=make_guard(table, machine), emit=judgements.append, clock=Clock())

    for n, fault in enumerate(("", "", "bpfo", "bpfo"), start=1):
        pipeline.admit(Trigger(1, n, n, Clock().mono_us()), sample(Machine(fault, strikes=6.0), 90 + n, 20.0))
        assert pipeline.step(5)
    exhibits.note(judgements)
    while exhibits.step(0):
        pass

    assert [judgement.verdict.name for judgement in judgements] == ["OK", "OK", "REVIEW", "NG"]
    (last,) = windows.find(tmp_path / WINDOWS, 1, 4)
    assert any(reason.name.startswith("bpfo") for reason in last.explanation.reasons), last.explanation.reasons
    assert all(reason.part is not None and reason.part > 0 for reason in last.explanation.reasons)


def test_each_axis_that_a_contract_names_is_guarded(tmp_path: Path) -> None:
    """A cable that is off at the second axis is a dead sensor for the line; a speed that rests is none."""
    about = contract()
    assert about.vibration is not None
    axes = msgspec.structs.replace(about, vibration=msgspec.structs.replace(about.vibration, axes=("radial",)))
    rows = np.random.default_rng(5).normal(size=(60, len(feature_names(axes))))
    model = load(tmp_path, axes, baseline.make_graph(baseline.fit(rows, [])), OperatingPoint(accept=1e6, reject=1e9))
    judged: list[Judgement] = []
    table = settings.Pipeline(name="pump", bundle="machine", source="s", trigger="t")
    pipeline = Pipeline("pump", model, guard=make_guard(table, model), emit=judged.append, clock=Clock())
    heard = sample(Machine(), 7, 20.0).channels
    living = Machine().run(8, LENGTH, 20.0)

    for n, radial in enumerate((living, np.zeros(LENGTH)), start=1):
        pipeline.admit(Trigger(1, n, n, Clock().mono_us()), Sample({**heard, "radial": Channel(radial, 0)}))
        assert pipeline.step(5)

    assert [each.reason.name for each in judged] == ["NONE", "DEAD"]
