from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from sklearn.linear_model import LogisticRegression

from cloud_hub.errors import FactoryError
from cloud_hub.factory import second_opinion
from cloud_hub.factory.second_opinion import by_classifier, by_reference
from edge_agent.inference import selftest
from edge_agent.inference.geometry import Geometry
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
        data = png(RNG.integers(0, 256, (150, 120, 3), np.uint8))
        assert opinion.score(data) == pytest.approx(selftest.trace(model, data).score, abs=1e-3)


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (90, 70), (256, 128), (33, 47), (300, 1000)])
def test_another_area_pyramid_comes_to_the_same_pixels(size: tuple[int, int]) -> None:
    """As the specification words it and no line of ours: within a grey level, from any size to the model's."""
    picture = RNG.integers(0, 256, (*size, 3), np.uint8)
    expected = Geometry(image_manifest().input).fit(picture)  # type: ignore[arg-type]

    found = second_opinion._resize(picture.astype(np.float64), 32, 32)

    assert np.abs(found - expected).max() <= 1
    assert np.mean(found != expected) < 0.02


@pytest.mark.parametrize("size", [(31, 31), (16, 32), (5, 24)])
def test_another_enlargement_comes_to_the_same_pixels(size: tuple[int, int]) -> None:
    """What is made larger is the mean over each pixel too: within a grey level of the production path."""
    picture = RNG.integers(0, 256, (*size, 3), np.uint8)
    expected = Geometry(image_manifest().input).fit(picture)  # type: ignore[arg-type]

    found = second_opinion._resize(picture.astype(np.float64), 32, 32)

    assert np.abs(found - expected).max() <= 1


def test_a_picture_resized_both_ways_gets_no_second_opinion() -> None:
    """Where one side shrinks and the other grows, area is not the mean over a pixel: better none than a wrong one."""
    opinion = by_reference(image_graph(), image_manifest().input)  # type: ignore[arg-type]
    with pytest.raises(FactoryError, match="one way"):
        opinion.score(png(np.zeros((31, 40, 3), np.uint8)))


@pytest.mark.parametrize(
    "changes", [{"colour": "bgr"}, {"roi": (0, 0, 32, 32)}, {"geometry": "crop"}, {"resize": "linear"}]
)
def test_a_contract_it_does_not_know_gets_no_second_opinion(changes: dict[str, Any]) -> None:
    """Better none than one of another contract."""
    with pytest.raises(FactoryError, match="second opinion"):
        by_reference(image_graph(), replace(image_manifest().input, **changes))  # type: ignore[arg-type]


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
