"""A window with what goes with it: in one array or in parts, the same rows; what does not fit is refused by name."""

import io

import msgspec
import numpy as np
import pytest

from edge_agent.errors import InferenceError
from edge_agent.inference import signals
from edge_agent.inference.preprocess import WindowPreprocessor
from edge_protocol.codes import Reason
from edge_protocol.contract import Vibration, WindowInput
from edge_protocol.features import feature_names
from tests.edge_agent.inference.small_bundles import npy

LENGTH = 256
CONTRACT = WindowInput(
    tensor="x",
    length=LENGTH,
    rate_hz=256.0,
    channel="a",
    features="vibration",
    vibration=Vibration(speed_channel="n", context=("load",), bands=8),
)
WINDOW = np.random.default_rng(0).normal(size=LENGTH)


@pytest.fixture
def preprocessor() -> WindowPreprocessor:
    """Of acceleration, speed and load."""
    return WindowPreprocessor(CONTRACT)


def test_one_array_and_parts_are_the_same_rows(preprocessor: WindowPreprocessor) -> None:
    """As an array, as the bytes of one file, as channels of one value or of many: one sample, one tensor."""
    rows = np.stack([WINDOW, np.full(LENGTH, 30.0), np.linspace(5.0, 6.0, LENGTH)])

    decoded = [
        preprocessor.decode(rows),
        preprocessor.decode(npy(rows)),
        preprocessor.decode(npy(np.asfortranarray(rows))),
        preprocessor.decode((WINDOW, np.array(30.0), np.array([5.0, 6.0]))),
        preprocessor.decode((npy(WINDOW), npy(np.array([30])), npy(rows[2]))),
    ]

    for each in decoded:
        np.testing.assert_allclose(each, rows)
    tensor = preprocessor.new_tensor()
    preprocessor.write(decoded[0], tensor)
    named = dict(zip(feature_names(CONTRACT), tensor[0].tolist(), strict=True))
    assert (named["speed_hz"], named["load"]) == pytest.approx((30.0, 5.5))
    assert signals.of_window(decoded[0]) == signals.of_window(WINDOW)


def test_further_axes_are_windows() -> None:
    """An axis has the window's length, unlike speed and context."""
    about = Vibration(axes=("b",), speed_channel="n", bands=8)
    preprocessor = WindowPreprocessor(msgspec.structs.replace(CONTRACT, vibration=about))

    rows = preprocessor.decode((WINDOW, 2 * WINDOW, np.array(30.0)))

    np.testing.assert_allclose(rows, np.stack([WINDOW, 2 * WINDOW, np.full(LENGTH, 30.0)]))
    with pytest.raises(InferenceError) as refused:
        preprocessor.decode((WINDOW, np.array(1.0), np.array(30.0)))
    assert refused.value.reason is Reason.WRONG_SHAPE


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        (WINDOW, Reason.WRONG_SHAPE),
        (WINDOW[None].repeat(2, 0), Reason.WRONG_SHAPE),
        (b"no file", Reason.UNREADABLE),
        ((WINDOW[:-1], np.array(1.0), np.array(1.0)), Reason.WRONG_SHAPE),
        ((WINDOW, np.zeros(0), np.array(1.0)), Reason.WRONG_SHAPE),
        ((WINDOW, np.zeros(LENGTH + 1), np.array(1.0)), Reason.WRONG_SHAPE),
        ((WINDOW, np.zeros((2, 2)), np.array(1.0)), Reason.WRONG_SHAPE),
        ((WINDOW, np.array([True]), np.array(1.0)), Reason.WRONG_SHAPE),
        ((WINDOW, np.array(np.nan), np.array(1.0)), Reason.NOT_FINITE),
        ((np.full(LENGTH, np.inf), np.array(1.0), np.array(1.0)), Reason.NOT_FINITE),
        ((WINDOW, b"", np.array(1.0)), Reason.UNREADABLE),
        ((WINDOW, npy(np.zeros(LENGTH * 2)), np.array(1.0)), Reason.WRONG_SHAPE),
        ((WINDOW, npy(np.zeros(3))[:-1], np.array(1.0)), Reason.WRONG_SHAPE),
    ],
)
def test_what_does_not_fit_is_refused(preprocessor: WindowPreprocessor, parts: object, reason: Reason) -> None:
    """Each way of being wrong has its reason, and a cure."""
    with pytest.raises(InferenceError) as refused:
        preprocessor.decode(parts)  # type: ignore[arg-type]

    assert refused.value.reason is reason
    assert refused.value.hint


def test_a_header_that_promises_terabytes_takes_no_memory(preprocessor: WindowPreprocessor) -> None:
    """A channel's shape is compared before memory is asked for."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (2**40,)})

    with pytest.raises(InferenceError) as refused:
        preprocessor.decode((WINDOW, stream.getvalue(), np.array(1.0)))

    assert refused.value.reason is Reason.WRONG_SHAPE


def test_a_window_whose_squares_overflow_is_refused(preprocessor: WindowPreprocessor) -> None:
    """It is not silence, and not an odd score."""
    rows = preprocessor.decode((WINDOW * 1e200, np.array(30.0), np.array(5.0)))

    with pytest.raises(InferenceError) as refused:
        preprocessor.write(rows, preprocessor.new_tensor())

    assert refused.value.reason is Reason.NOT_FINITE
