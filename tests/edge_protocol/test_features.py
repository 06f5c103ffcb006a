"""The names of features, and the rules of the contracts that they come from."""

import msgspec
import pytest

from edge_protocol.contract import Bearing, ClassOutput, Vibration, WindowAnomalyOutput, WindowInput
from edge_protocol.contract_rules import task_problems
from edge_protocol.features import feature_names

BEARING = Bearing(balls=9, ball_mm=7.94, pitch_mm=39.04)
WHOLE = Vibration(
    shaft_hz=30.0,
    speed_channel="speed",
    context=("load",),
    bearing=BEARING,
    gear_teeth=23,
    bands=6,
    envelope_hz=(100.0, 400.0),
    zones=(1.4, 2.8, 4.5),
)
WINDOW = WindowInput(tensor="x", length=1000, rate_hz=1000.0, features="vibration", vibration=WHOLE)


def problems(window: WindowInput) -> list[str]:
    """What is wrong with a contract."""
    return list(task_problems("window-anomaly", window, WindowAnomalyOutput()))


def test_names_are_as_many_as_features_and_differ() -> None:
    """Eleven of time, one velocity, the bands, two of the spectrum, three orders, three of a gear, two and twenty."""
    names = feature_names(WINDOW)

    assert len(names) == len(set(names)) == 11 + 1 + 6 + 2 + 3 + 3 + 2 + 20 + 1 + 1
    assert names[-2:] == ("speed_hz", "load")
    assert names[12].startswith("power 4-")
    assert problems(WINDOW) == []


def test_bands_of_a_plain_spectrum_have_their_hertz() -> None:
    """As the specification cuts the bins, and a raw window has no names."""
    plain = WindowInput(tensor="x", length=500, rate_hz=500.0, bands=64)

    assert feature_names(plain)[:2] == ("power 0-3 Hz", "power 3-7 Hz")
    assert len(feature_names(plain)) == 64
    assert feature_names(msgspec.structs.replace(plain, features="raw")) == ()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"bands": 0}, "bands"),
        ({"bands": 497}, "bands"),
        ({"bands": 10**12}, "bands"),
        ({"shaft_hz": -1.0}, "shaft_hz"),
        ({"shaft_hz": float("nan")}, "shaft_hz"),
        ({"shaft_hz": 500.0}, "shaft_hz"),
        ({"gear_teeth": -1}, "gear_teeth"),
        ({"shaft_hz": 0.0, "speed_channel": ""}, "needs vibration.shaft_hz"),
        ({"envelope_hz": (400.0, 100.0)}, "envelope_hz"),
        ({"envelope_hz": (0.0, 100.0)}, "envelope_hz"),
        ({"envelope_hz": (100.0, 501.0)}, "half of rate_hz"),
        ({"velocity_hz": (10.0, 10.0)}, "velocity_hz"),
        ({"zones": (1.4, 1.4, 4.5)}, "zones"),
        ({"zones": (0.0, 1.4, 4.5)}, "zones"),
        ({"context": ("signal",)}, "channels"),
        ({"context": ("kurtosis",)}, "channels"),
        ({"context": ("load", "load")}, "channels"),
        ({"axes": ("signal",)}, "channels"),
        ({"axes": ("load",)}, "channels"),
        ({"axes": tuple(f"a{n}" for n in range(65))}, "channels at most"),
        ({"bearing": msgspec.structs.replace(BEARING, balls=2)}, "bearing"),
        ({"bearing": msgspec.structs.replace(BEARING, ball_mm=40.0)}, "bearing"),
        ({"bearing": msgspec.structs.replace(BEARING, ball_mm=0.0)}, "bearing"),
        ({"bearing": msgspec.structs.replace(BEARING, contact_deg=90.0)}, "contact angle"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(changes: dict[str, object], word: str) -> None:
    """Each rule of a vibration contract, with the field in its words."""
    found = problems(msgspec.structs.replace(WINDOW, vibration=msgspec.structs.replace(WHOLE, **changes)))

    assert any(word in each for each in found), found


def test_mean_and_deviation_are_one_per_feature() -> None:
    """As many as there are names, or none."""
    size = len(feature_names(WINDOW))

    fits = msgspec.structs.replace(WINDOW, mean=(0.0,) * size, std=(1.0,) * size)
    short = msgspec.structs.replace(WINDOW, mean=(0.0,) * 5, std=(1.0,) * 5)

    assert problems(fits) == []
    assert any(f"{size} values" in each for each in problems(short))


def test_vibration_and_its_features_go_together() -> None:
    """Neither without the other."""
    lone = WindowInput(tensor="x", length=1000, rate_hz=1000.0, vibration=WHOLE)
    bare = msgspec.structs.replace(WINDOW, vibration=None)
    output = ClassOutput(classes=("a", "b"), anomalous=("b",))

    assert any("vibration" in each for each in task_problems("window-classification", lone, output))
    assert any("vibration" in each for each in problems(bare))
