import numpy as np

from cloud_hub.factory import surrogates
from edge_agent.inference.features import log_power_spectrum

RNG = np.random.default_rng(15)
LENGTH, BANDS = 200, 16


def features(window: np.ndarray) -> np.ndarray:
    """The features under test."""
    return log_power_spectrum(window, BANDS)


def recorded() -> np.ndarray:
    """Windows of noise with a broad resonance."""
    noise = RNG.normal(size=(300, LENGTH + 50))
    for n in range(2, noise.shape[1]):
        noise[:, n] += 1.2 * noise[:, n - 1] - 0.8 * noise[:, n - 2]
    return noise[:, 50:]


def test_generated_windows_have_the_mean_features_of_the_recorded() -> None:
    """The average over generated windows is the average over recorded ones, band by band."""
    target = np.mean([features(window) for window in recorded()], axis=0)
    gains = surrogates.fit_gains(target, LENGTH, features, np.random.default_rng(1))

    made = surrogates.generate(gains, LENGTH, 300, np.random.default_rng(2))

    assert np.abs(np.mean([features(window) for window in made], axis=0) - target).max() < 0.4


def test_no_generated_window_is_a_recorded_one() -> None:
    """What is generated correlates with nothing that was recorded."""
    rows = recorded()
    target = np.mean([features(window) for window in rows], axis=0)
    made = surrogates.generate(
        surrogates.fit_gains(target, LENGTH, features, np.random.default_rng(1)), LENGTH, 20, RNG
    )

    assert not any((window == row).all() for window in made for row in rows)
    assert np.allclose(made.std(axis=1), 1)
