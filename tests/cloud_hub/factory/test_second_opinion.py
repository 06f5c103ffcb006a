from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from sklearn.linear_model import LogisticRegression

from cloud_hub.errors import FactoryError
from cloud_hub.factory.second_opinion import by_classifier, by_reference
from edge_agent.inference import selftest
from edge_agent.inference.model import Model
from edge_agent.inference.preprocess import make_preprocessor
from tests.edge_agent.inference.small_bundles import (
    BANDS,
    LENGTH,
    image_graph,
    image_manifest,
    npy,
    png,
    window_manifest,
    write_image_bundle,
)

RNG = np.random.default_rng(5)


def test_pillow_and_the_reference_evaluator_say_what_the_production_path_says(tmp_path: Path) -> None:
    """The same picture through none of its code comes to the same score."""
    model = Model.load(write_image_bundle(tmp_path))
    opinion = by_reference(image_graph(), image_manifest().input)  # type: ignore[arg-type]
    for _ in range(3):
        data = png(RNG.integers(0, 256, (32, 32, 3), np.uint8))
        assert opinion.score(data) == pytest.approx(selftest.trace(model, data).score, abs=1e-5)


@pytest.mark.parametrize("changes", [{}, {"colour": "bgr"}, {"roi": (0, 0, 32, 32)}])
def test_what_needs_more_than_pixels_gets_no_second_opinion(changes: dict) -> None:
    """Another library's resize is another resize: it would say less than nothing."""
    side = 32 if changes else 33
    opinion = by_reference(image_graph(), replace(image_manifest().input, **changes))  # type: ignore[arg-type]
    with pytest.raises(FactoryError, match="size"):
        opinion.score(png(np.zeros((side, side, 3), np.uint8)))


def test_scipy_and_the_classifier_itself_say_what_the_contract_says() -> None:
    """Features and standardisation by another library come to the same probability."""
    windows = RNG.normal(size=(40, LENGTH)) * RNG.uniform(0.1, 9, (40, 1)) + 3
    plain = make_preprocessor(window_manifest().input)
    rows = np.stack([plain.geometry(window) for window in windows])
    contract = replace(window_manifest().input, mean=tuple(rows.mean(axis=0)), std=tuple(rows.std(axis=0)))
    production = make_preprocessor(contract)
    classifier = LogisticRegression().fit((rows - contract.mean) / contract.std, np.arange(40) % 2)
    tensor = production.new_tensor()
    assert tensor.shape == (1, BANDS)

    opinion = by_classifier(classifier, contract)  # type: ignore[arg-type]

    for window in windows[:5]:
        production.write(production.decode(npy(window)), tensor)
        assert opinion.score(npy(window)) == pytest.approx(classifier.predict_proba(tensor)[0, 1], abs=1e-5)
