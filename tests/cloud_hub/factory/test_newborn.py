import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cloud_hub.errors import FactoryError
from cloud_hub.factory import growing, newborn
from cloud_hub.factory.guesses import stem
from edge_agent.errors import InferenceError
from edge_agent.inference import selftest
from edge_agent.inference.model import Model
from edge_protocol import bundle
from edge_protocol.bundle import MANIFEST

Sides = Sequence[int | str | None]
FLOAT, DOUBLE, BYTE, INT64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.UINT8, TensorProto.INT64


def value(name: str, sides: Sides, kind: int = FLOAT) -> onnx.ValueInfoProto:
    """An input or output."""
    return helper.make_tensor_value_info(name, kind, list(sides))


def model(
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    nodes: Sequence[onnx.NodeProto] = (),
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """A graph that says this of itself; without nodes, each output is made by one that no test runs."""
    made = nodes or [helper.make_node("Identity", [inputs[0].name], [output.name]) for output in outputs]
    graph = helper.make_graph(list(made), "g", list(inputs), list(outputs))
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    for key, text in (metadata or {}).items():
        entry = built.metadata_props.add()
        entry.key, entry.value = key, text
    return bytes(built.SerializeToString())


def brightness() -> bytes:
    """A classifier that runs: how bright the picture is, as two shares."""
    weights = np.array([[1 / 300.0, -1 / 300.0]] * 3, np.float32)
    offset = np.array([-1.0, 1.0], np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["picture"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["row"]),
        helper.make_node("Gemm", ["row", "w", "b"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["shares"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [value("picture", ["n", 3, 8, 8])],
        [value("shares", ["n", 2])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(offset, "b")],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(built.SerializeToString())


def drafted(content: bytes) -> dict[str, Any]:
    """The manifest of a draft."""
    return newborn.draft(content, "foreign", "foreign.onnx").manifest


@pytest.mark.parametrize(
    ("sides", "kind", "wanted"),
    [
        pytest.param(
            ["n", 3, 224, 160], FLOAT, {"kind": "image", "layout": "nchw", "height": 224, "width": 160}, id="nchw"
        ),
        pytest.param(
            [1, 90, 120, 3], BYTE, {"kind": "image", "layout": "nhwc", "width": 120, "dtype": "uint8"}, id="nhwc"
        ),
        pytest.param([1, 1, 32, 32], FLOAT, {"kind": "image", "colour": "gray"}, id="gray"),
        pytest.param([None, 261], DOUBLE, {"kind": "tensor", "shape": [1, 261], "dtype": "float64"}, id="row"),
        pytest.param([1, 1, 1024], FLOAT, {"kind": "window", "length": 1024, "shape": [1, 1, 1024]}, id="signal"),
    ],
)
def test_the_kind_of_input_is_guessed_from_its_sides(sides: Sides, kind: int, wanted: dict[str, Any]) -> None:
    """Channels at their usual places make a picture, one long row a window, all else is a tensor."""
    made = drafted(model([value("x", sides, kind)], [value("y", [1, 2], kind)]))

    assert wanted.items() <= made["input"].items()


@pytest.mark.parametrize(
    ("outputs", "task", "wanted"),
    [
        pytest.param([("y", [1, 4])], "image-classification", {"probabilities": "y"}, id="classes"),
        pytest.param([("y", [1, 2, 64, 64])], "segmentation", {"masks": "y"}, id="maps"),
        pytest.param([("y", [1, 300, 6])], "detection", {"form": "packed", "boxes": "y"}, id="packed"),
        pytest.param(
            [("scores", [1, 99, 3]), ("boxes", [1, 99, 4])],
            "detection",
            {"form": "split", "boxes": "boxes", "scores": "scores"},
            id="split",
        ),
        pytest.param(
            [("heat", [1, 16, 16, 8]), ("sides", [1, 16, 16, 4])],
            "detection",
            {"form": "centernet", "boxes": "sides", "scores": "heat"},
            id="centernet",
        ),
    ],
)
def test_the_task_is_guessed_from_the_outputs(
    outputs: list[tuple[str, Sides]], task: str, wanted: dict[str, Any]
) -> None:
    """Numbers for classes, maps, or boxes in each of their forms."""
    made = drafted(model([value("x", [1, 3, 64, 64])], [value(name, sides) for name, sides in outputs]))

    assert made["task"] == task
    assert wanted.items() <= made["output"].items()


def test_what_fits_no_task_is_left_to_a_person() -> None:
    """A sequence of letters is none of our outputs: it is said, not bent."""
    made = drafted(model([value("x", [1, 3, 48, 320])], [value("y", [1, 40, 6625])]))

    assert made["task"].startswith("FILL IN")
    assert made["output"]["kind"].startswith("FILL IN")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("state", "stateN"),
        ("h", "hn"),
        ("h0", "hn"),
        ("c_in", "c_out"),
        ("past.key", "present.key"),
        ("state", "new_state"),
    ],
)
def test_a_state_is_known_by_its_name_before_and_after(before: str, after: str) -> None:
    """The many ways to write it, with sides that fit; the sample's own input is none."""
    inputs = [value("input", [1, 512]), value(before, [2, "batch", 128])]
    outputs = [value("output", [1, 1]), value(after, [2, "batch", 128])]

    made = drafted(model(inputs, outputs))

    assert stem(before) == stem(after)
    assert made["states"] == [{"input": before, "output": after, "shape": [2, 1, 128], "dtype": "float32"}]
    assert made["input"]["tensor"] == "input"
    assert made["output"]["value"] == "output"


def test_names_alike_with_other_sides_are_no_state() -> None:
    """What comes out must fit where it goes in."""
    inputs = [value("input", [1, 512]), value("h", [2, 1, 128])]

    made = drafted(model(inputs, [value("output", [1, 1]), value("hn", [2, 1, 64])]))

    assert made["states"] == []
    assert [constant["input"] for constant in made["constants"]] == ["h"]


def test_a_scalar_beside_the_sample_is_a_constant_to_fill_in() -> None:
    """A sampling rate is nothing that a graph can tell."""
    made = drafted(model([value("input", [1, 576]), value("sr", [], INT64)], [value("prob", [1, 1])]))

    (constant,) = made["constants"]
    assert (constant["input"], constant["shape"], constant["dtype"]) == ("sr", [], "int64")
    assert constant["values"].startswith("FILL IN")


def test_named_sides_are_fixed_once() -> None:
    """The number of samples is one; height and width are a person's; a name with two meanings is left alone."""
    named = drafted(model([value("x", ["batch", 3, "h", "w"])], [value("y", ["batch", 2])]))
    doubled = drafted(model([value("x", ["batch", 3, "side", "side"])], [value("y", ["batch", 2])]))

    assert named["dimensions"]["batch"] == 1
    assert named["dimensions"]["h"].startswith("FILL IN")
    assert named["input"]["width"].startswith("FILL IN")
    assert doubled["dimensions"] == {"batch": 1}


def test_class_names_are_read_where_the_file_lists_them() -> None:
    """As exporters write them, and only if there are as many as the output has numbers."""
    content = [value("x", [1, 3, 8, 8])], [value("y", [1, 2])]

    known = drafted(model(*content, metadata={"names": "{0: 'good', 1: 'bad'}"}))
    other = drafted(model(*content, metadata={"names": "{0: 'good'}"}))
    hostile = drafted(model(*content, metadata={"names": "__import__('os')"}))

    assert known["output"]["classes"] == ["good", "bad"]
    assert other["output"]["classes"].startswith("FILL IN")
    assert hostile["output"]["classes"].startswith("FILL IN")


def test_what_is_done_to_the_values_is_read_from_the_last_operator() -> None:
    """A graph that ends in a softmax needs no second one, even behind an identity."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["row"]),
        helper.make_node("Softmax", ["row"], ["shares"]),
        helper.make_node("Identity", ["shares"], ["y"]),
    ]

    made = drafted(model([value("x", [1, 3, 1, 1])], [value("y", [1, 3])], nodes))

    assert made["output"]["activation"] == "none"


@pytest.mark.parametrize("kind", ["custom", "external", "garbage"])
def test_what_no_gateway_could_run_is_refused_at_once(kind: str) -> None:
    """Custom operators, weights in files beside it, and what is no model."""
    content = b"\x00garbage"
    if kind == "custom":
        node = helper.make_node("Magic", ["x"], ["y"], domain="com.example")
        content = model([value("x", [1, 3])], [value("y", [1, 3])], [node])
    if kind == "external":
        weight = numpy_helper.from_array(np.ones(3, np.float32), "w")
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        entry = weight.external_data.add()
        entry.key, entry.value = "location", "weights.bin"
        node = helper.make_node("Add", ["x", "w"], ["y"])
        graph = helper.make_graph([node], "g", [value("x", [1, 3])], [value("y", [1, 3])], [weight])
        content = bytes(helper.make_model(graph).SerializeToString())

    with pytest.raises(FactoryError, match=r"foreign\.onnx"):
        newborn.draft(content, "foreign", "foreign.onnx")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A draft of the classifier that runs."""
    (tmp_path / "foreign.onnx").write_bytes(brightness())
    newborn.write_draft(tmp_path / "foreign.onnx", tmp_path / "mine", "mine")
    return tmp_path / "mine"


def fill_in(folder: Path, **changed: Any) -> None:
    """What a person would write; `changed` overrules it."""
    document = json.loads((folder / MANIFEST).read_text())
    document["input"] |= {"mean": [0, 0, 0], "std": [1, 1, 1]}
    document["output"] |= {"classes": ["bright", "dark"], "anomalous": ["dark"]}
    document |= {"operating_point": {"accept": 0.4, "reject": 0.6}, "objective": "tell light from dark"}
    document["licences"] = [{"what": "model", "licence": "Apache-2.0"}]
    (folder / MANIFEST).write_text(json.dumps(document | changed))


def picture(path: Path, level: int) -> Path:
    """A picture of one grey."""
    cv2.imwrite(str(path), np.full((16, 16, 3), level, np.uint8))
    return path


def test_no_agent_takes_a_draft(folder: Path) -> None:
    """Not when it is fresh, and not when all but the mark is done: the refusal says what to do."""
    with pytest.raises(InferenceError, match="draft") as fresh:
        Model.load(folder)
    fill_in(folder, goldens=[])
    with pytest.raises(InferenceError, match="draft"):
        Model.load(folder)

    assert "bundle check" in str(fresh.value)


def test_a_draft_grows_into_a_bundle_that_proves_itself(folder: Path, tmp_path: Path) -> None:
    """Filled in, given goldens and finished it is loaded, and reproduces them."""
    fill_in(folder)
    growing.add_golden(folder, picture(tmp_path / "light.png", 250), "OK")
    growing.add_golden(folder, picture(tmp_path / "night.png", 5), "NG")
    assert growing.still_open(folder) == []

    growing.finish(folder)

    manifest, _ = bundle.load(folder)
    assert [golden.file for golden in manifest.goldens] == ["goldens/light.png", "goldens/night.png"]
    assert selftest.check(Model.load(folder), folder) == []


def test_what_is_open_is_listed_with_its_place(folder: Path, tmp_path: Path) -> None:
    """Each placeholder by its field; while one is left there is neither golden nor bundle."""
    fill_in(folder, operating_point={"accept": "FILL IN: a score", "reject": 0.6})

    assert [where for where, _ in growing.still_open(folder)] == ["operating_point.accept", "goldens"]
    with pytest.raises(FactoryError, match=r"operating_point\.accept"):
        growing.add_golden(folder, picture(tmp_path / "light.png", 250), "OK")
    with pytest.raises(FactoryError, match=r"operating_point\.accept, goldens"):
        growing.finish(folder)


def test_an_input_that_comes_to_another_verdict_is_no_golden(folder: Path, tmp_path: Path) -> None:
    """Then the draft is wrong, or the person is: nothing is kept."""
    fill_in(folder)

    with pytest.raises(FactoryError, match="is NG with score"):
        growing.add_golden(folder, picture(tmp_path / "night.png", 5), "OK")

    assert not (folder / "goldens").exists()


def test_a_manifest_that_disagrees_with_the_graph_is_not_finished(folder: Path, tmp_path: Path) -> None:
    """Three names for two numbers: the refusal is the gateway's own."""
    fill_in(folder)
    growing.add_golden(folder, picture(tmp_path / "light.png", 250), "OK")
    document = json.loads((folder / MANIFEST).read_text())
    document["output"]["classes"].append("dusk")
    (folder / MANIFEST).write_text(json.dumps(document))

    with pytest.raises(FactoryError):
        growing.finish(folder)


def test_a_draft_that_was_begun_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    """A second draft goes elsewhere."""
    with pytest.raises(FactoryError, match="there already"):
        newborn.write_draft(tmp_path / "foreign.onnx", folder, "mine")
