"""A bundle folder comes in, a model that judges samples goes out: the one production path.

Recipes, calibration, `infer`, the self-test and the line all go through here. `decode`, `signals` and `write` belong
to one thread, `predict` to one thread, not necessarily the same.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.errors import InferenceError
from edge_agent.inference import decision, postprocess, signals
from edge_agent.inference.cache import Cache
from edge_agent.inference.engine import Engine
from edge_agent.inference.feed import Feed
from edge_agent.inference.geometry import Placement, frame
from edge_agent.inference.matching import check_dimensions, check_match, is_open, observed
from edge_agent.inference.picture import check_picture, read_picture
from edge_agent.inference.postprocess import View
from edge_agent.inference.preprocess import Preprocessor, WindowPreprocessor, make_preprocessor
from edge_agent.inference.tuning import Plan
from edge_agent.inference.variants import settle
from edge_agent.judgement import Prediction
from edge_agent.sample import Sample
from edge_protocol import bundle
from edge_protocol.batch import Context
from edge_protocol.bundle import ImageInput, Manifest, OperatingPoint, WindowInput
from edge_protocol.codes import Reason, Verdict
from edge_protocol.counters import Reference, load_reference
from edge_protocol.errors import DecodeError, ManifestError

Array = npt.NDArray[Any]


class Model:
    """A checked bundle with its preprocessor, its engine and its operating point."""

    def __init__(
        self, manifest: Manifest, digest: str, variant: str, preprocessor: Preprocessor, engine: Engine
    ) -> None:
        self.manifest = manifest
        self.digest = digest
        self.variant = variant
        self.reference: Reference | None = None
        self.operating_point: OperatingPoint = manifest.operating_point
        self.point_digest = b""
        self.preprocessor = preprocessor
        self.engine = engine
        self._tensor = preprocessor.new_tensor()
        self._has_features = isinstance(manifest.input, WindowInput) and manifest.input.features != "raw"
        self.feed = Feed(manifest)
        self._contexts: dict[str, Context] = {}

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        variant: str | None = None,
        cache: Cache | None = None,
        threads: int = 1,
        optimise: bool = True,
        plan: Plan | None = None,
    ) -> "Model":
        """The model of a bundle folder, checked against its manifest and warmed up.

        Without `variant` the one that suits this processor is taken, as `plan` says or what was measured here, which
        the cache knows. `optimise=False` runs the graph node by node: slow, and an int8 variant then computes what
        its arithmetic means on any processor.

        Raises:
            InferenceError: NO_MODEL: no bundle, a damaged one, or one that cannot run here.
        """
        try:
            manifest, digest = bundle.read(folder)
            measured = plan or (cache.plans.get(digest) if cache is not None else None)
            how = settle(manifest, folder, variant or "", measured)
            chosen = manifest.variant(how.variant)
            # A gateway fetches only what it runs: the other variants' files need not be there.
            bundle.check_files(manifest, folder, bundle.needed(manifest, chosen.name))
            # Digest and load see the same bytes: a file that changes in between is not run.
            content = _read_checked(folder, manifest, chosen.file)
        except ManifestError as error:
            raise InferenceError(str(error), error.hint, Reason.NO_MODEL) from error
        engine = Engine(
            content,
            threads=max(threads, how.threads),
            cache=cache,
            optimise=optimise,
            arena=how.arena,
            provider=chosen.provider,
            dimensions=manifest.dimensions,
        )
        preprocessor = make_preprocessor(manifest.input)
        check_dimensions(manifest, content)
        check_match(manifest, preprocessor.new_tensor(), engine.inputs, engine.results)
        model = cls(manifest, digest, chosen.name, preprocessor, engine)
        model.reference = _read_reference(folder, manifest)
        engine.warm_up(model.feed.alone(model.new_tensor()))
        if is_open(engine.results):
            seen = observed(engine.results, model.run(model.new_tensor()))
            check_match(manifest, model.new_tensor(), engine.inputs, seen)
        return model

    def new_tensor(self) -> Array:
        """A tensor for `write` and `predict`."""
        return self.preprocessor.new_tensor()

    def decode(self, sample: Sample) -> Array:
        """The checked values of the sample's channel.

        Raises:
            InferenceError: with the reason why it cannot be judged.
        """
        preprocessor = self.preprocessor
        if isinstance(preprocessor, WindowPreprocessor) and preprocessor.are_apart(sample.channels):
            return preprocessor.decode(tuple(sample.channels[name].data for name in preprocessor.channels))
        return preprocessor.decode(self._data(sample))

    def _data(self, sample: Sample) -> bytes | Array:
        if sample.fault is not Reason.NONE:
            raise InferenceError(sample.detail or "the source gave nothing to judge", "", sample.fault)
        channel = sample.channels.get(self.preprocessor.channel)
        if channel is None and len(sample.channels) == 1:
            channel = next(iter(sample.channels.values()))
        if channel is None:
            message = f"the sample has no channel {self.preprocessor.channel!r}"
            hint = f"it has {', '.join(sample.channels) or 'none'}: name the source's channel as the bundle does"
            raise InferenceError(message, hint, Reason.WRONG_SHAPE)
        return channel.data

    def signals(self, array: Array) -> dict[str, float]:
        """The monitored quantities of decoded values, without the score."""
        return signals.of(array, self.manifest.input)

    def picture(self, sample: Sample) -> Array:
        """The source picture of a sample at its full size, for people.

        Raises:
            InferenceError: there is none.
        """
        data = self._data(sample)
        return check_picture(data) if isinstance(data, np.ndarray) else read_picture(data)

    def write(self, array: Array, tensor: Array) -> Placement | None:
        """Preprocess decoded values into a tensor of `new_tensor`; of a picture, where in the source the tensor lies.

        Raises:
            InferenceError: with the reason why it cannot be judged.
        """
        return self.preprocessor.write(array, tensor)

    def run(self, tensor: Array) -> dict[str, Array]:
        """The graph's outputs by name for a tensor by itself: a state is zero, and stays what it was.

        Raises:
            InferenceError: ENGINE_FAULT.
        """
        return self.engine.run(self.feed.alone(tensor))

    def predict(self, tensor: Array, placement: Placement | None = None) -> Prediction:
        """What the model says of a tensor, with the state that the one before left.

        Raises:
            InferenceError: ENGINE_FAULT.
        """
        return self.conclude(self.advance(tensor), placement, tensor=tensor)

    def advance(self, tensor: Array) -> dict[str, Array]:
        """The graph's outputs by name for the tensor that follows the last one: the first half of `predict`.

        Raises:
            InferenceError: ENGINE_FAULT.
        """
        outputs = self.engine.run(self.feed.next(tensor))
        self.feed.keep(outputs)
        return outputs

    def conclude(
        self,
        outputs: Mapping[str, Array],
        placement: Placement | None = None,
        point: OperatingPoint | None = None,
        *,
        tensor: Array | None = None,
    ) -> Prediction:
        """The prediction that outputs state. Without `placement`, places are in pixels of the tensor.

        With the `tensor` of a window that they were made of, the prediction keeps its features.

        Raises:
            InferenceError: ENGINE_FAULT: they are not what the manifest says.
        """
        contract, point = self.manifest.input, point or self.operating_point
        view = View(contract, placement or frame(contract), point) if isinstance(contract, ImageInput) else None
        prediction = postprocess.predict(self.manifest.output, outputs, view)
        if tensor is not None and self._has_features:
            # A copy of some hundred numbers: the tensor is another window's by the time anybody asks why.
            return replace(prediction, features=tensor.astype(np.float32).reshape(-1))
        return prediction

    def forget(self) -> None:
        """Begin with states of zero: there is a gap, or another part of the line."""
        self.feed.forget()

    def twin(self) -> "Model":
        """Another of the same engine, with buffers and states of its own, for another thread."""
        preprocessor = make_preprocessor(self.manifest.input)
        twin = Model(self.manifest, self.digest, self.variant, preprocessor, self.engine)
        twin.reference, twin.operating_point = self.reference, self.operating_point
        twin.point_digest = self.point_digest
        return twin

    def at(self, point: OperatingPoint, digest: bytes) -> "Model":
        """A twin that judges by `point`. `digest` is of the file that was signed with it; empty: the bundle's own."""
        twin = self.twin()
        twin.operating_point, twin.point_digest = point, digest
        return twin

    def judge(self, sample: Sample) -> tuple[Prediction, dict[str, float]]:
        """Prediction and signals of a sample, in one thread.

        Raises:
            InferenceError: with the reason why it cannot be judged.
        """
        array = self.decode(sample)
        found = self.signals(array)
        return self.predict_values(array), found

    def predict_values(self, array: Array) -> Prediction:
        """What the model says of decoded values, in one thread.

        Raises:
            InferenceError: with the reason why they cannot be judged.
        """
        return self.predict(self._tensor, self.write(array, self._tensor))

    def verdict(self, prediction: Prediction) -> tuple[Verdict, Reason]:
        """The verdict of a prediction by itself, at this model's operating point."""
        return decision.verdict(prediction, self.operating_point)

    def context(self, pipeline: str) -> Context:
        """What stands with each verdict of `pipeline` to say what judged it."""
        if pipeline not in self._contexts:
            manifest, digest = self.manifest, bytes.fromhex(self.digest)
            self._contexts[pipeline] = Context(
                pipeline, manifest.name, manifest.version, digest, self.variant, self.point_digest
            )
        return self._contexts[pipeline]


def _read_reference(folder: Path, manifest: Manifest) -> Reference | None:
    if not manifest.reference:
        return None
    try:
        return load_reference(_read_checked(folder, manifest, manifest.reference))
    except DecodeError as error:
        message = f"{folder / manifest.reference}: {error}"
        raise InferenceError(message, "make the bundle again", Reason.NO_MODEL) from error


def _read_checked(folder: Path, manifest: Manifest, name: str) -> bytes:
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        message = f"{folder / name} cannot be read: {error.strerror}"
        raise InferenceError(message, "copy the whole bundle folder again", Reason.NO_MODEL) from error
    if hashlib.sha256(content).hexdigest() != manifest.files[name].sha256:
        message = f"{folder / name} changed while it was read"
        raise InferenceError(message, "copy the whole bundle folder again", Reason.NO_MODEL)
    return content
