"""Everything that a source or a bundle may get wrong, one row each: the reason, the words and the cure."""

import io
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import settings as run_settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from PIL import Image

from edge_agent.clock import FixedClock
from edge_agent.errors import InferenceError
from edge_agent.inference.lane import BUFFERS
from edge_agent.inference.model import Model
from edge_agent.inference.pipeline import Pipeline
from edge_agent.judgement import Judgement
from edge_agent.sample import Channel, Sample, Trigger
from edge_agent.settings import Guard as GuardSettings
from edge_agent.sources.guard import Guard
from edge_protocol.bundle import TensorInput, WindowAnomalyOutput
from edge_protocol.codes import Reason, Verdict
from tests.edge_agent.inference import small_bundles
from tests.edge_agent.inference.small_bundles import LENGTH, SIDE, npy, png

RNG = np.random.default_rng(3)
NOISE = RNG.integers(60, 200, (SIDE, SIDE, 3), np.uint8)
WAVE = RNG.normal(size=LENGTH)
VALUES = RNG.normal(size=(1, 4)).astype(np.float32)
JUDGED = {reason for reason in Reason if reason.value < 100} | {
    reason for reason in Reason if Reason.GLARE <= reason <= Reason.DEAD or reason is Reason.BLACK
}
"""What may be said of values that could be read."""

SPARE_BYTES = 16 * 2**20
"""What judging a refused picture may add to the process: nothing of the picture's size."""


def saved(form: str, *frames: np.ndarray, **keys: Any) -> bytes:
    """Frames as Pillow writes them."""
    stream = io.BytesIO()
    first, *rest = [Image.fromarray(frame) for frame in frames]
    extra = {"save_all": True, "append_images": rest} if rest else {}
    first.save(stream, form, **extra, **keys)
    return stream.getvalue()


def cmyk() -> bytes:
    """A JPEG of four inks."""
    stream = io.BytesIO()
    Image.fromarray(NOISE).convert("CMYK").save(stream, "JPEG")
    return stream.getvalue()


def turned() -> bytes:
    """A JPEG whose tag says that the camera was held upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved("JPEG", NOISE, exif=exif, quality=95)


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def blank_png(width: int, height: int) -> bytes:
    """A grey PNG of zeros: a thousand times smaller than what it becomes."""
    packer, row = zlib.compressobj(9), bytes(width + 1)
    pixels = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def resized(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG whose frame says that it is of another size."""
    at = max(jpeg.find(bytes([0xFF, mark])) for mark in (0xC0, 0xC2))
    return jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]


def endless(jpeg: bytes, passes: int) -> bytes:
    """A progressive JPEG whose last pass comes again and again."""
    end = len(jpeg) - 2
    return jpeg[:end] + jpeg[jpeg.rfind(b"\xff\xda") : end] * passes + jpeg[end:]


def promise(length: int) -> bytes:
    """The beginning of a .npy file of so many numbers."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (length,)})
    return stream.getvalue()


PROGRESSIVE = saved("JPEG", NOISE, progressive=True, quality=95)
PICTURES: dict[str, tuple[Any, Reason, str]] = {
    "float picture": (NOISE.astype(np.float32), Reason.WRONG_SHAPE, "float32"),
    "16-bit array": (NOISE.astype(np.uint16), Reason.WRONG_SHAPE, "uint16"),
    "signed picture": (NOISE.astype(np.int8), Reason.WRONG_SHAPE, "int8"),
    "rank 1": (NOISE.ravel(), Reason.WRONG_SHAPE, r"uint8\[3072\]"),
    "rank 4": (NOISE[None], Reason.WRONG_SHAPE, r"\[1, 32, 32, 3\]"),
    "two channels": (NOISE[..., :2], Reason.WRONG_SHAPE, r"\[32, 32, 2\]"),
    "four channels": (np.dstack([NOISE, NOISE[..., :1]]), Reason.WRONG_SHAPE, r"\[32, 32, 4\]"),
    "zero-size array": (NOISE[:0], Reason.WRONG_SHAPE, r"\[0, 32, 3\]"),
    "nothing": (b"", Reason.UNREADABLE, "neither a PNG nor a JPEG"),
    "truncated png": (png(NOISE)[:-90], Reason.UNREADABLE, "truncated or damaged"),
    "truncated jpeg": (saved("JPEG", NOISE)[:-90], Reason.UNREADABLE, "truncated or damaged"),
    "zero-size png": (blank_png(0, 0), Reason.WRONG_SHAPE, "0 × 0 pixels"),
    "16-bit png": (png(NOISE.astype(np.uint16) * 257), Reason.WRONG_SHAPE, "16 bits a channel"),
    "alpha": (png(np.dstack([NOISE, NOISE[..., :1]])), Reason.WRONG_SHAPE, "no alpha, no CMYK"),
    "cmyk": (cmyk(), Reason.WRONG_SHAPE, "4 channels"),
    "animated png": (saved("PNG", NOISE, NOISE[::-1]), Reason.WRONG_SHAPE, "more than one frame"),
    "animated gif": (saved("GIF", NOISE, NOISE[::-1]), Reason.UNREADABLE, "neither a PNG nor a JPEG"),
    "animated webp": (saved("WEBP", NOISE, NOISE[::-1]), Reason.UNREADABLE, "neither a PNG nor a JPEG"),
    "tiff": (saved("TIFF", NOISE), Reason.UNREADABLE, "neither a PNG nor a JPEG"),
    "100 megapixels": (blank_png(10_000, 10_000), Reason.WRONG_SHAPE, "10000 × 10000 pixels"),
    "jpeg bomb": (resized(saved("JPEG", NOISE), 65_500, 65_500), Reason.WRONG_SHAPE, "65500 × 65500 pixels"),
    "progressive bomb": (resized(PROGRESSIVE, 6000, 6000), Reason.WRONG_SHAPE, "progressive JPEG up to"),
    "endless passes": (endless(PROGRESSIVE, 500), Reason.UNREADABLE, "passes"),
    "endless chunks": (png(NOISE)[:33] + chunk(b"tEXt", b"a\0b") * 2000 + png(NOISE)[33:], Reason.UNREADABLE, "chunks"),
}
WINDOWS: dict[str, tuple[Any, Reason, str]] = {
    "nan": (np.where(np.arange(LENGTH) == 5, np.nan, WAVE), Reason.NOT_FINITE, "not finite"),
    "infinity": (np.where(np.arange(LENGTH) == 5, np.inf, WAVE), Reason.NOT_FINITE, "not finite"),
    "too large for its square": (WAVE * 1e200, Reason.NOT_FINITE, "not finite"),
    "complex": (WAVE.astype(np.complex128), Reason.WRONG_SHAPE, "complex128"),
    "words": (np.array(["a"] * LENGTH), Reason.WRONG_SHAPE, "<U1"),
    "times": (np.zeros(LENGTH, "M8[s]"), Reason.WRONG_SHAPE, "datetime64"),
    "rank 2": (WAVE.reshape(2, -1), Reason.WRONG_SHAPE, r"\[2, 32\]"),
    "too short": (WAVE[:-1], Reason.WRONG_SHAPE, r"\[63\]"),
    "zero-size": (WAVE[:0], Reason.WRONG_SHAPE, r"\[0\]"),
    "no file": (b"hello", Reason.UNREADABLE, "npy"),
    "truncated file": (npy(WAVE)[:-8], Reason.WRONG_SHAPE, r"\[64\] in"),
    "a promise of terabytes": (promise(10**13), Reason.WRONG_SHAPE, r"\[10000000000000\]"),
    "objects": (npy(WAVE).replace(b"<f8", b"|O8"), Reason.WRONG_SHAPE, "object"),
}
TENSORS: dict[str, tuple[Any, Reason, str]] = {
    "nan": (np.full((1, 4), np.nan), Reason.NOT_FINITE, "not finite|no number"),
    "another shape": (np.zeros((2, 4)), Reason.WRONG_SHAPE, r"\[2, 4\]"),
    "another rank": (np.zeros((1, 2, 2, 2)), Reason.WRONG_SHAPE, r"\[1, 2, 2, 2\]"),
    "words": (np.array([["a"] * 4]), Reason.WRONG_SHAPE, "<U1"),
    "no file": (b"\x93NUMPY", Reason.UNREADABLE, "npy"),
}


class Line:
    """A pipeline that a part waits at."""

    def __init__(self, model: Model) -> None:
        self.judged: list[Judgement] = []
        self.model = model
        guard = Guard(GuardSettings(frozen_after=0), model.manifest.input.__struct_config__.tag).check
        self.pipeline = Pipeline("seal", model, guard=guard, emit=self.judged.append, clock=FixedClock())
        self.n = 0

    def judge(self, data: Any, channel: str = "") -> Judgement:
        """What becomes of this input."""
        self.n += 1
        sample = Sample({channel or self.model.preprocessor.channel: Channel(data, 0)})
        self.pipeline.admit(Trigger(1, self.n, 0, 0), sample)
        assert self.pipeline.step(0)
        return self.judged[-1]


def value_bundle(folder: Path) -> Path:
    """A bundle for four values of a process; the score is their sum."""
    graph = helper.make_graph(
        [helper.make_node("ReduceSum", ["values"], ["score"], keepdims=0)],
        "sum",
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [])],
    )
    graph.node.append(helper.make_node("Reshape", ["total", "one"], ["score"]))
    graph.node[0].output[0] = "total"
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([1], np.int64), "one"))
    graph.output[0].type.tensor_type.shape.dim.add().dim_value = 1
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    manifest = small_bundles.window_manifest(
        task="tensor-anomaly", input=TensorInput(tensor="values", shape=(1, 4)), output=WindowAnomalyOutput()
    )
    return small_bundles.write_bundle(folder, manifest, {"fp32.onnx": model.SerializeToString()})


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """A model for each kind of input."""
    root = tmp_path_factory.mktemp("bundles")
    return {
        "picture": Model.load(small_bundles.write_image_bundle(root / "image")),
        "window": Model.load(small_bundles.write_window_bundle(root / "window")),
        "tensor": Model.load(value_bundle(root / "tensor")),
    }


ROWS = [
    pytest.param(kind, good, row, id=f"{kind}: {name}")
    for kind, good, rows in (("picture", NOISE, PICTURES), ("window", WAVE, WINDOWS), ("tensor", VALUES, TENSORS))
    for name, row in rows.items()
]


@pytest.mark.parametrize(("kind", "good", "row"), ROWS)
def test_a_bad_input_is_uninspected_and_the_line_goes_on(
    models: dict[str, Model], kind: str, good: Any, row: tuple[Any, Reason, str]
) -> None:
    """
    A typed error with the field and the cure; a part that waits for it is UNINSPECTED with its reason and its words,
    however often it comes, and the next good part is judged.
    """
    data, reason, words = row
    line = Line(models[kind])
    channel = line.model.preprocessor.channel

    bad = [line.judge(data) for _ in range(2 * BUFFERS)]
    after = line.judge(good)
    with pytest.raises(InferenceError, match=words) as caught:
        line.model.judge(Sample({channel: Channel(data, 0)}))

    assert {(each.verdict, each.reason, each.score) for each in bad} == {(Verdict.UNINSPECTED, reason, None)}
    assert caught.value.reason is reason
    assert caught.value.hint
    assert bad[0].detail == caught.value.told
    assert after.verdict is not Verdict.UNINSPECTED


SOUND = {"picture": [png(NOISE), saved("JPEG", NOISE), PROGRESSIVE], "window": [npy(WAVE)], "tensor": [npy(VALUES)]}
EDITS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=9)), max_size=4)


@run_settings(deadline=None, max_examples=100)
@given(data=st.data(), edits=EDITS, left=st.floats(0, 1))
def test_no_damage_is_a_surprise(models: dict[str, Model], data: st.DataObject, edits: Any, left: float) -> None:
    """However the bytes of a sound file were changed or cut, there is a verdict, by a reason that was foreseen."""
    kind = data.draw(st.sampled_from(sorted(SOUND)))
    content = bytearray(data.draw(st.sampled_from(SOUND[kind])))
    for at, change in edits:
        start = int(at * len(content))
        content[start : start + len(change)] = change
    cut = bytes(content[: max(1, round(len(content) * left))])

    judgement = Line(models[kind]).judge(data.draw(st.sampled_from([cut, bytes(content)])))

    assert judgement.reason in {Reason.UNREADABLE, Reason.WRONG_SHAPE, Reason.NOT_FINITE} | JUDGED
    assert not re.match(r"\w+: ", judgement.detail), "an error of a class that is not ours"


@pytest.mark.parametrize("name", ["100 megapixels", "jpeg bomb", "progressive bomb", "endless passes"])
def test_a_bomb_does_not_go_off(models: dict[str, Model], name: str) -> None:
    """What would become gigabytes, or take minutes, is refused by its header: the process hardly grows."""
    line = Line(models["picture"])
    line.judge(NOISE)
    before = peak_bytes(reset=True)

    for _ in range(5):
        line.judge(PICTURES[name][0])

    assert peak_bytes() - before < SPARE_BYTES


def peak_bytes(*, reset: bool = False) -> int:
    """The highest resident size of this process, from now on if it is reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("16-bit png", "eight bits"),
        ("cmyk", "grey or RGB"),
        ("100 megapixels", "cut it to the part"),
        ("animated png", "each frame by itself"),
        ("animated gif", "as PNG or JPEG"),
        ("truncated jpeg", "whole"),
        ("progressive bomb", "baseline"),
        ("endless passes", "baseline"),
    ],
)
def test_the_cure_is_of_what_is_wrong(models: dict[str, Model], name: str, cure: str) -> None:
    """Who delivers a picture that is too large is not told to deliver another number of bits."""
    assert cure in Line(models["picture"]).judge(PICTURES[name][0]).detail.rpartition("(")[2]


@pytest.mark.parametrize("data", [turned(), PROGRESSIVE], ids=["turned", "progressive"])
def test_what_only_looks_odd_is_judged(models: dict[str, Model], data: bytes) -> None:
    """A tag that wants the picture turned does not turn what the sensor saw; a progressive JPEG is a JPEG."""
    line, plain = Line(models["picture"]), saved("JPEG", NOISE, quality=95)

    odd = line.judge(data)

    seen, meant = (line.model.decode(Sample({"image": Channel(each, 0)})) for each in (data, plain))
    assert odd.verdict is not Verdict.UNINSPECTED
    assert np.array_equal(seen, meant)


def test_values_that_the_source_knows_to_be_missing_are_a_gap(models: dict[str, Model]) -> None:
    """NaN where a source says that values never came is a gap, not a broken number."""
    line = Line(models["window"])
    holed = np.where(np.arange(LENGTH) < 3, np.nan, WAVE)

    line.pipeline.admit(Trigger(1, 1, 0, 0), Sample({"signal": Channel(holed, 0, missing=3)}))
    line.pipeline.step(0)

    assert line.judged[0].reason is Reason.GAP


def test_a_channel_of_another_name_is_named(models: dict[str, Model]) -> None:
    """Where none of several channels is the bundle's, the error lists those that there are."""
    with pytest.raises(InferenceError, match="no channel 'signal'") as caught:
        models["window"].judge(Sample({"left": Channel(WAVE, 0), "right": Channel(WAVE, 0)}))

    assert "left, right" in caught.value.hint


def external(model: onnx.ModelProto) -> None:
    """The weights lie in another file."""
    weight = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(weight, "weights.bin")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL


def custom(model: onnx.ModelProto) -> None:
    """An operator of the maker's own."""
    model.graph.node[0].domain = "com.acme"
    model.opset_import.append(helper.make_opsetid("com.acme", 1))


def future(model: onnx.ModelProto) -> None:
    """Operators of a version that is not out yet."""
    model.opset_import[0].version = 999


def renamed(model: onnx.ModelProto) -> None:
    """The graph calls its input something else than the manifest does."""
    for node in model.graph.node:
        node.input[:] = ["x" if name == "features" else name for name in node.input]
    model.graph.input[0].name = "x"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (external, "files beside it.*'slope'"),
        (custom, "operator MatMul of 'com.acme'"),
        (future, "opset 999"),
        (renamed, r"input\.tensor"),
    ],
)
def test_a_bad_model_is_refused_by_its_field(
    tmp_path: Path, spoil: Callable[[onnx.ModelProto], None], words: str
) -> None:
    """A bundle whose graph cannot run here, or is not what its manifest says, loads with a typed error and a cure."""
    model = onnx.load_from_string(small_bundles.window_graph())
    spoil(model)
    content = model.SerializeToString()
    folder = small_bundles.write_bundle(tmp_path, small_bundles.window_manifest(), {"fp32.onnx": content})

    with pytest.raises(InferenceError, match=words) as caught:
        Model.load(folder)

    assert caught.value.reason is Reason.NO_MODEL
    assert caught.value.hint
