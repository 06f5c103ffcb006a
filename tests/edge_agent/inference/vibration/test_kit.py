"""The kit finds the fault that a machine has, at any speed, and is what the contract says: a vector with names."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.inference.vibration.bearing import fault_orders
from edge_agent.inference.vibration.kit import Kit
from edge_protocol.contract import Bearing, Vibration, WindowInput
from edge_protocol.features import FAULTS, feature_names, log_bins
from tests.edge_agent.inference.vibration.machines import BEARING, ORDERS, RATE_HZ, SHAFT_HZ, Machine, contract


def named(about: WindowInput, rows: np.ndarray) -> dict[str, float]:
    """The features by name."""
    return dict(zip(feature_names(about), Kit(about).vector(rows).tolist(), strict=True))


def test_a_bearing_of_a_catalogue_has_the_orders_that_are_printed_of_it() -> None:
    """SKF 6205-2RS: 3.585, 5.415, 2.357 and .398 of the shaft, as the bearing data centre of CWRU lists them."""
    bearing = Bearing(balls=9, ball_mm=0.3126 * 25.4, pitch_mm=1.537 * 25.4)

    found = fault_orders(bearing)

    wanted = {"bpfo": 3.5848, "bpfi": 5.4152, "bsf": 4.7135 / 2, "ftf": 0.39828}
    assert found == pytest.approx(wanted, rel=1e-3)
    assert found["bpfo"] + found["bpfi"] == pytest.approx(9)


@pytest.mark.parametrize("fault", FAULTS[:3])
@pytest.mark.parametrize("seed", range(4))
def test_the_fault_stands_out_from_the_others(fault: str, seed: int) -> None:
    """Of a race or a ball that is hurt, that and no other stands out, with slip and noise."""
    found = named(contract(), Machine(fault).run(seed))

    standing = {each: found[f"{each}_prominence"] for each in FAULTS[:3]}
    assert max(standing, key=standing.__getitem__) == fault
    assert standing[fault] > 3


@pytest.mark.parametrize("seed", range(4))
def test_a_good_bearing_stands_out_nowhere(seed: int) -> None:
    """Of noise and a shaft alone no fault reaches what a fault reaches."""
    found = named(contract(), Machine().run(seed))

    assert max(found[f"{fault}_prominence"] for fault in FAULTS) < 3
    assert found["order_1"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("fault", FAULTS[:3])
def test_the_fault_is_found_while_the_speed_changes(fault: str) -> None:
    """Under a speed that rises by half within the window, by angle and not without it."""
    speed = SHAFT_HZ * np.linspace(0.8, 1.2, 20_480)
    window = Machine(fault, strikes=6.0).run(3, speed_hz=speed)

    tracked = named(contract(speed_channel="speed"), np.stack([window, speed]))
    blind = named(contract(), window)

    standing = {each: tracked[f"{each}_prominence"] for each in FAULTS[:3]}
    assert max(standing, key=standing.__getitem__) == fault
    assert tracked[f"{fault}_prominence"] > 2 * blind[f"{fault}_prominence"]
    assert tracked["order_1"] == pytest.approx(0.5, abs=0.15)
    assert tracked["speed_hz"] == pytest.approx(SHAFT_HZ)


def test_a_line_that_slip_does_not_explain_is_another() -> None:
    """A bearing whose outer race strikes 6 % off has nothing at its place: the tolerance is that of slip."""
    window = Machine("bpfo", strikes=8.0).run(1)
    other = Bearing(balls=9, ball_mm=6.07, pitch_mm=39.04)

    own, foreign = named(contract(), window), named(contract(bearing=other), window)

    assert fault_orders(other)["bpfo"] == pytest.approx(1.06 * ORDERS["bpfo"], rel=2e-3)
    assert own["bpfo_1"] > 4 * foreign["bpfo_1"]


def test_a_gear_has_its_mesh_and_sidebands() -> None:
    """It stands at teeth times the shaft's speed, and what its beat with the shaft makes stands beside it."""
    machine = Machine(teeth=23, mesh=3.0, noise=0.1)

    found = named(contract(gear_teeth=23, shaft_hz=30.0), machine.run(1, speed_hz=30.0))

    assert found["mesh_1"] == pytest.approx(3.0, rel=0.02)
    assert found["mesh_sidebands"] == pytest.approx(2 * 0.75 + 2 * 0.375, rel=0.02)
    assert found["mesh_2"] < 0.1


def test_the_band_is_found_where_none_is_given() -> None:
    """Without `envelope_hz` each window takes the band that rings, and the fault is found all the same."""
    found = named(contract(envelope_hz=None), Machine("bpfo", strikes=8.0, resonance_hz=6_200.0).run(2))

    assert found["bpfo_prominence"] > 4
    assert found["envelope_kurtosis"] > 3.5


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bearing": None},
        {"gear_teeth": 20},
        {"speed_channel": "speed", "gear_teeth": 20},
        {"shaft_hz": 0.0, "bearing": None},
        {"context": ("load", "oil_c")},
        {"speed_channel": "speed", "context": ("load",)},
        {"bands": 7},
        {"axes": ("y", "z")},
        {"axes": ("y",), "speed_channel": "speed", "context": ("load",), "gear_teeth": 20},
    ],
)
def test_each_feature_has_a_name(changes: dict[str, object]) -> None:
    """The vector is as long as the contract's names, which differ from each other, whatever it is made of."""
    about = contract(**changes)
    kit = Kit(about)
    rows = np.stack([Machine().run(0), *(np.full(20_480, 30.0 + n) for n in range(len(kit.channels) - 1))])

    vector = kit.vector(rows)

    names = feature_names(about)
    assert vector.shape == (kit.size,) == (len(names),)
    assert len(set(names)) == len(names)
    assert np.isfinite(vector).all()
    if "load" in names:
        assert vector[names.index("load")] == pytest.approx(30.0 + kit.channels.index("load") - 1)


def test_each_axis_has_its_own_features() -> None:
    """The features of an axis are those that it would have alone, under its name, at the common speed."""
    about = contract(axes=("y",), speed_channel="speed")
    x, y = Machine("bpfo").run(1), Machine("bpfi").run(2)
    speed = np.full(20_480, SHAFT_HZ)

    both = named(about, np.stack([x, y, speed]))

    for axis, window in (("signal", x), ("y", y)):
        alone = named(contract(speed_channel="speed"), np.stack([window, speed]))
        speed_hz = alone.pop("speed_hz")
        assert {f"{axis} {name}": value for name, value in alone.items()}.items() <= both.items()
        assert both["speed_hz"] == speed_hz


def test_a_shaft_that_stands_still_has_no_orders() -> None:
    """With fewer than four turns in the window, what belongs to the shaft is zero, and nothing fails."""
    about = contract(speed_channel="speed", gear_teeth=20)
    rows = np.stack([Machine().run(0), np.zeros(20_480)])

    found = named(about, rows)

    assert [value for name, value in found.items() if name.startswith(("order", "mesh", "bp", "bsf", "ftf"))] == [
        0.0
    ] * 26


@settings(max_examples=25, deadline=None)
@given(st.floats(1e-4, 1e4), st.integers(0, 2**32 - 1))
def test_what_has_no_unit_does_not_scale(scale: float, seed: int) -> None:
    """A more sensitive sensor changes no factor, no entropy and no prominence."""
    about = WindowInput(tensor="x", length=4096, rate_hz=4096.0, features="vibration", vibration=_short())
    window = np.random.default_rng(seed).normal(size=4096)

    soft, loud = named(about, window), named(about, window * scale)

    free = ("skewness", "kurtosis", "crest", "shape", "impulse", "clearance", "spectral_entropy", "envelope_kurtosis")
    for name in (*free, *(f"{fault}_prominence" for fault in FAULTS), "spectral_centroid_hz"):
        assert loud[name] == pytest.approx(soft[name], rel=1e-6), name
    for name in ("rms", "velocity_rms_mm_s", "bpfo_1", "order_1", "envelope_rms"):
        assert loud[name] == pytest.approx(scale * soft[name], rel=1e-6), name


@pytest.mark.parametrize("level", [0.0, 1.0, -250.5])
def test_a_constant_gives_numbers(level: float) -> None:
    """A dead sensor is silent, not an error: who refuses it is the guard."""
    vector = Kit(contract(gear_teeth=20)).vector(np.full(20_480, level))

    assert np.isfinite(vector).all()


def test_values_too_large_for_their_squares_are_not_silence() -> None:
    """What overflows is not finite, so that it is refused downstream."""
    vector = Kit(contract()).vector(np.random.default_rng(0).normal(size=20_480) * 1e200)

    assert not np.isfinite(vector).all()


@settings(max_examples=100, deadline=None)
@given(st.integers(10, 100_000).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, min(256, n // 2 - 4)))))
def test_bands_follow_each_other(shape: tuple[int, int]) -> None:
    """Each band has a bin of its own, the last ends with the spectrum."""
    length, bands = shape

    bins = log_bins(length, bands)

    assert len(bins) == bands + 1
    assert all(low < high for low, high in pairwise(bins))
    assert bins[-1] == length // 2 + 1


def _short() -> Vibration:
    return Vibration(shaft_hz=40.0, bearing=BEARING, bands=8, envelope_hz=(600.0, 1800.0), velocity_hz=(10.0, 500.0))


def test_the_machines_strike_where_they_should() -> None:
    """The generator itself: a bearing's impulses come as often as its geometry says."""
    window = Machine("bpfo", noise=0.0, shaft=0.0, slip=0.0).run(0)
    beginnings = np.flatnonzero(np.diff((np.abs(window) > 1e-3).astype(int)) == 1)

    assert len(beginnings) > 0
    expected = ORDERS["bpfo"] * SHAFT_HZ * 20_480 / RATE_HZ
    energy = np.abs(np.fft.rfft(np.abs(window)))[1:]
    assert (energy[:200].argmax() + 1) == pytest.approx(expected, abs=1.5)
