from pathlib import Path

import msgspec
import numpy as np
import pytest

from cloud_hub.errors import FactoryError
from cloud_hub.factory.bundle_writer import write_bundle
from cloud_hub.factory.goldens import Candidate, SecondOpinion, choose_goldens
from edge_agent.inference import selftest
from edge_agent.inference.model import Model
from edge_protocol.bundle import Variant
from tests.edge_agent.inference.small_bundles import image_graph, image_manifest, png

TWO = (Variant(name="fp32", file="a.onnx"), Variant(name="u8s8-7bit", file="b.onnx"))
GRAPHS = {"a.onnx": image_graph(), "b.onnx": image_graph()}


def grey(level: int) -> bytes:
    """A flat picture: its score is |level - 127.5| / 255."""
    return png(np.full((32, 32), level, np.uint8))


def models(folder: Path) -> dict[str, Model]:
    """The small bundle in two variants, that are equal."""
    write_bundle(folder, image_manifest(variants=TWO), GRAPHS)
    return {variant.name: Model.load(folder, variant=variant.name) for variant in TWO}


CANDIDATES = [
    Candidate("good", "OK", "near.png", grey(85)),
    Candidate("good", "OK", "far.png", grey(127)),
    Candidate("black", "NG", "black.png", grey(0)),
    Candidate("black", "NG", "not-black.png", grey(128)),
]


def test_each_group_gives_the_candidate_with_the_widest_margin(tmp_path: Path) -> None:
    """Of candidates that are judged as they should be, the one farthest from a threshold is taken."""
    goldens, files = choose_goldens(models(tmp_path / "b"), CANDIDATES)

    assert [golden.file for golden in goldens] == ["far.png", "black.png"]
    assert files == {"far.png": grey(127), "black.png": grey(0)}


def test_what_was_chosen_passes_the_self_test(tmp_path: Path) -> None:
    """A bundle with these goldens is reproduced by the machine that made them, in each variant."""
    goldens, files = choose_goldens(models(tmp_path / "draft"), CANDIDATES)
    manifest = msgspec.structs.replace(image_manifest(variants=TWO), goldens=tuple(goldens))
    write_bundle(tmp_path / "b", manifest, GRAPHS | files)

    for variant in TWO:
        assert selftest.check(Model.load(tmp_path / "b", variant=variant.name), tmp_path / "b") == []


def test_a_group_without_a_fit_candidate_is_an_error(tmp_path: Path) -> None:
    """No golden is made of an input that is judged otherwise than it should be."""
    with pytest.raises(FactoryError, match="white"):
        choose_goldens(models(tmp_path / "b"), [*CANDIDATES, Candidate("white", "OK", "white.png", grey(255))])


def test_the_second_opinion_stands_beside_what_the_variants_say(tmp_path: Path) -> None:
    """Where they agree, each variant is held to it: within a quarter of its distance to the nearest threshold."""
    opinion = SecondOpinion("pencil and paper", lambda data: 0.5 if data == grey(0) else 9.0)
    goldens, files = choose_goldens(models(tmp_path / "draft"), CANDIDATES, opinion)

    assert [golden.trained for golden in goldens if golden.file != "black.png"] == [None]
    (black,) = (golden.trained for golden in goldens if golden.file == "black.png")
    assert black is not None
    assert (black.score, black.framework) == (0.5, "pencil and paper")
    assert black.tolerance == pytest.approx(0.25 * (0.5 - 0.4))
    manifest = msgspec.structs.replace(image_manifest(variants=TWO), goldens=tuple(goldens))
    write_bundle(tmp_path / "b", manifest, GRAPHS | files)
    assert selftest.check(Model.load(tmp_path / "b", variant="fp32"), tmp_path / "b") == []


def test_a_path_that_agrees_with_no_second_opinion_makes_no_goldens(tmp_path: Path) -> None:
    """What is deployed is not what was trained: that is found where the bundle is made."""
    with pytest.raises(FactoryError, match="pencil"):
        choose_goldens(models(tmp_path / "b"), CANDIDATES, SecondOpinion("pencil and paper", lambda _data: 0.3))
