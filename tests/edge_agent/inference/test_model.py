import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_agent.errors import InferenceError
from edge_agent.inference.model import Model
from edge_agent.sample import Channel, Sample
from edge_protocol import bundle
from edge_protocol.bundle import AnomalyOutput, ImageInput, OperatingPoint, Variant
from edge_protocol.codes import Reason, Verdict
from tests.edge_agent.inference import small_bundles
from tests.edge_agent.inference.small_bundles import LENGTH, npy, png

GREY = np.full((40, 40, 3), 128, np.uint8)
BLACK = np.zeros((40, 40, 3), np.uint8)


def seen(data: bytes | np.ndarray, channel: str = "image") -> Sample:
    """A sample of one channel."""
    return Sample({channel: Channel(data, 0)})


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """The small image bundle, loaded."""
    return Model.load(small_bundles.write_image_bundle(tmp_path / "image"))


@pytest.fixture
def listener(tmp_path: Path) -> Model:
    """The small window bundle, loaded."""
    return Model.load(small_bundles.write_window_bundle(tmp_path / "window"))


def test_a_picture_is_judged(model: Model) -> None:
    """Mid-grey is OK and black is NG for a model that measures the distance from mid-grey."""
    good, signals = model.judge(seen(png(GREY)))
    bad, _signals = model.judge(seen(BLACK))

    assert model.verdict(good) == (Verdict.OK, Reason.NONE)
    assert model.verdict(bad) == (Verdict.NG, Reason.SCORE_REJECT)
    assert bad.score == pytest.approx(0.5, abs=1e-6)
    assert bad.heatmap is not None
    assert bad.heatmap.shape == (4, 4)
    assert signals["luma_mean"] == 128


def test_a_window_is_judged(listener: Model) -> None:
    """A hiss is a fault and a hum is good for a model that compares the halves of the spectrum."""
    time = np.arange(LENGTH)
    hum, _signals = listener.judge(seen(npy(np.sin(time * 0.3)), "signal"))
    hiss, _signals = listener.judge(seen(np.sin(time * 2.8), "signal"))

    assert listener.verdict(hum)[0] is Verdict.OK
    assert hum.label == "good"
    assert listener.verdict(hiss)[0] is Verdict.NG
    assert hiss.label == "fault"


def test_two_threads_share_a_model(model: Model) -> None:
    """One thread may write tensors while another predicts: the scores are those of one thread alone."""
    rng = np.random.default_rng(7)
    pictures = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(50)]
    alone = [model.judge(seen(p))[0].score for p in pictures]
    tensors = [model.new_tensor() for _ in pictures]
    written = [threading.Event() for _ in pictures]

    def write() -> None:
        for picture, tensor, event in zip(pictures, tensors, written, strict=True):
            model.write(model.decode(seen(picture)), tensor)
            event.set()

    writer = threading.Thread(target=write)
    writer.start()
    scores = []
    for tensor, event in zip(tensors, written, strict=True):
        assert event.wait(10)
        scores.append(model.predict(tensor).score)
    writer.join()

    assert scores == alone


def test_the_context_says_what_judged(model: Model, tmp_path: Path) -> None:
    """Bundle, version, digest and variant go with every verdict, and an operating point unlike the bundle's own."""
    context = model.context("top")
    other = model.at(OperatingPoint(accept=0.1, reject=0.2), b"\xaa" * 32).context("top")

    assert (context.pipeline, context.bundle, context.version, context.variant) == (
        "top",
        "small-image",
        "1.0.0",
        "fp32",
    )
    assert context.digest.hex() == bundle.load(tmp_path / "image")[1]
    assert context.operating_point == b""
    assert (other.digest, other.operating_point) == (context.digest, b"\xaa" * 32)


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (seen(b"no picture"), Reason.UNREADABLE),
        (seen(np.zeros((4, 4), np.float32)), Reason.WRONG_SHAPE),
        (Sample(), Reason.WRONG_SHAPE),
        (Sample({"left": Channel(GREY, 0), "right": Channel(GREY, 0)}), Reason.WRONG_SHAPE),
        (Sample(fault=Reason.SOURCE_FAULT, detail="unplugged"), Reason.SOURCE_FAULT),
    ],
)
def test_what_cannot_be_judged_says_why(model: Model, sample: Sample, reason: Reason) -> None:
    """A sample without a picture that can be judged raises the reason of its verdict."""
    with pytest.raises(InferenceError) as caught:
        model.judge(sample)

    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("window", "reason"),
    [(np.full(LENGTH, np.nan), Reason.NOT_FINITE), (np.zeros(LENGTH + 1), Reason.WRONG_SHAPE)],
)
def test_a_window_that_cannot_be_judged_says_why(listener: Model, window: np.ndarray, reason: Reason) -> None:
    """NaN and a wrong length have their own reasons."""
    with pytest.raises(InferenceError) as caught:
        listener.judge(seen(window, "signal"))

    assert caught.value.reason is reason


def test_the_only_channel_is_the_channel(model: Model) -> None:
    """A source with one channel need not call it what the bundle does."""
    assert model.judge(seen(GREY, "camera-1"))[0].score < 0.2


def test_a_missing_or_damaged_bundle_is_refused(tmp_path: Path) -> None:
    """A folder that holds no whole bundle raises NO_MODEL with a cure."""
    damaged = small_bundles.write_image_bundle(tmp_path / "damaged")
    (damaged / "fp32.onnx").write_bytes(b"something else")

    for folder in (tmp_path / "absent", damaged):
        with pytest.raises(InferenceError) as caught:
            Model.load(folder)
        assert caught.value.reason is Reason.NO_MODEL
        assert caught.value.hint


@pytest.mark.parametrize(
    "changes",
    [
        {"input": ImageInput(tensor="image", width=64, height=32)},
        {"input": ImageInput(tensor="other", width=32, height=32)},
        {"input": ImageInput(tensor="image", width=32, height=32, dtype="uint8")},
        {"input": ImageInput(tensor="image", width=32, height=32, layout="nhwc")},
        {"output": AnomalyOutput(score="anomaly")},
        {"variants": (Variant(name="s8s8-arm", file="fp32.onnx", arch=("sparc",)),)},
    ],
)
def test_a_graph_that_is_not_what_the_manifest_says_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    """Tensor, shape, type, outputs and processor are compared at load, not at the first part."""
    folder = small_bundles.write_image_bundle(tmp_path / "bundle", **changes)

    with pytest.raises(InferenceError) as caught:
        Model.load(folder)

    assert caught.value.reason is Reason.NO_MODEL


def test_an_unknown_variant_is_refused(tmp_path: Path) -> None:
    """Asking for a variant that the bundle lacks names those that it has."""
    folder = small_bundles.write_image_bundle(tmp_path / "bundle")

    with pytest.raises(InferenceError) as caught:
        Model.load(folder, variant="u8s8-vnni")

    assert "fp32" in caught.value.hint


def test_only_what_the_chosen_variant_needs_is_looked_at(tmp_path: Path) -> None:
    """A bundle without the files of its other variants loads; without one that is needed it does not."""
    written = small_bundles.write_image_bundle(tmp_path / "bundle")
    manifest, _ = bundle.load(written)
    arm = Variant(name="s8s8-arm", file="arm.onnx", arch=("sparc",))
    files = {**manifest.files, "arm.onnx": bundle.File("ab" * 32, 1)}
    more = msgspec.structs.replace(manifest, variants=(*manifest.variants, arm), files=files)
    (written / bundle.MANIFEST).write_bytes(bundle.canonical(more))

    assert Model.load(written).variant == "fp32"

    with pytest.raises(InferenceError, match=r"arm\.onnx"):
        Model.load(written, variant="s8s8-arm")
