import io
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from edge_agent.errors import InferenceError
from edge_agent.inference.features import log_power_spectrum, read_window
from edge_agent.inference.preprocess import make_preprocessor
from edge_protocol.bundle import WindowInput
from edge_protocol.codes import Reason
from tests.edge_agent.inference.small_bundles import npy

LENGTH = 64
WINDOW = np.random.default_rng(4).normal(size=LENGTH)


def header_of(shape: tuple[int, ...]) -> bytes:
    """A .npy file that ends after its header."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return stream.getvalue()


def pickled() -> bytes:
    """A .npy file of objects."""
    stream = io.BytesIO()
    np.save(stream, np.array([{}] * LENGTH), allow_pickle=True)
    return stream.getvalue()


BAD = {
    "nothing": (b"", Reason.UNREADABLE),
    "text": (b"1,2,3", Reason.UNREADABLE),
    "broken header": (b"\x93NUMPY\x01\x00\x10\x00{'descr': ((((((", Reason.UNREADABLE),
    "truncated": (npy(WINDOW)[:-1], Reason.WRONG_SHAPE),
    "more than it says": (npy(WINDOW) + b"\0", Reason.WRONG_SHAPE),
    "zero size": (npy(np.zeros(0)), Reason.WRONG_SHAPE),
    "shorter": (npy(WINDOW[:-1]), Reason.WRONG_SHAPE),
    "two dimensions": (npy(WINDOW.reshape(8, 8)), Reason.WRONG_SHAPE),
    "complex": (npy(WINDOW + 1j), Reason.WRONG_SHAPE),
    "pickled": (pickled(), Reason.WRONG_SHAPE),
    "terabytes": (header_of((2**40,)), Reason.WRONG_SHAPE),
    "not a number": (npy(np.where(np.arange(LENGTH) == 5, np.nan, WINDOW)), Reason.NOT_FINITE),
    "infinite": (npy(np.where(np.arange(LENGTH) == 5, np.inf, WINDOW)), Reason.NOT_FINITE),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_window_is_refused_with_its_reason(name: str) -> None:
    """What is no window, or one that cannot be judged, raises a typed error, and no memory is asked for."""
    data, reason = BAD[name]
    tracemalloc.start()

    with pytest.raises(InferenceError) as caught:
        read_window(data, LENGTH)

    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.reason is reason
    assert peak < 1_000_000


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", ">i2", "u1"])
def test_a_window_of_any_real_kind_is_read(dtype: str) -> None:
    """Integers and floats of either byte order come out in double precision."""
    window = (np.arange(LENGTH) * 3 % 100).astype(dtype)

    assert np.array_equal(read_window(npy(window), LENGTH), window.astype(np.float64))


def test_the_features_are_what_the_specification_says() -> None:
    """Mean removed, unit deviation, Hann window, power summed in equal bands, logarithm."""
    bands = 7
    scaled = (WINDOW - WINDOW.mean()) / WINDOW.std()
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(LENGTH) / (LENGTH - 1))
    power = np.abs(np.fft.rfft(scaled * hann)) ** 2
    edges = [band * len(power) // bands for band in range(bands + 1)]
    expected = [np.log(1e-9 + power[a:b].sum()) for a, b in pairwise(edges)]

    assert np.allclose(log_power_spectrum(WINDOW, bands), expected, rtol=1e-12)


@given(npst.arrays(np.float64, LENGTH, elements=st.floats(-1e6, 1e6)), st.floats(0.01, 100), st.floats(-1e3, 1e3))
def test_loudness_and_offset_do_not_matter(window: np.ndarray, gain: float, offset: float) -> None:
    """A window that is louder or shifted has the same features, unless it is as good as constant."""
    if window.std() < 1e-3:
        return

    features = log_power_spectrum(window, 8)

    assert np.allclose(log_power_spectrum(window * gain + offset, 8), features, atol=1e-3)


def test_silence_is_a_number() -> None:
    """A constant window has finite features."""
    assert np.isfinite(log_power_spectrum(np.full(LENGTH, 3.0), 8)).all()


def test_values_too_large_for_their_squares_are_not_finite() -> None:
    """A finite window whose features overflow is refused as NOT_FINITE, without a warning."""
    preprocessor = make_preprocessor(WindowInput(tensor="x", length=LENGTH, rate_hz=1.0, bands=8))
    window = preprocessor.decode(WINDOW * 1e300)

    with pytest.raises(InferenceError) as caught:
        preprocessor.write(window, preprocessor.new_tensor())

    assert caught.value.reason is Reason.NOT_FINITE


def test_features_are_standardised_by_the_contract() -> None:
    """The tensor is (feature - mean) / std."""
    mean, std = tuple(range(8)), (2.0,) * 8
    preprocessor = make_preprocessor(WindowInput(tensor="x", length=LENGTH, rate_hz=1.0, bands=8, mean=mean, std=std))
    tensor = preprocessor.new_tensor()

    preprocessor.write(preprocessor.decode(WINDOW), tensor)

    assert np.allclose(tensor[0], (log_power_spectrum(WINDOW, 8) - mean) / 2, atol=1e-6)
