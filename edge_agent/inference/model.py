"""A bundle folder comes in, a model that judges samples goes out: the one production path.

Recipes, calibration, `infer`, the self-test and the line all go through here. `decode`, `signals` and `write` belong
to one thread, `predict` to one thread, not necessarily the same.
"""

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy.typing as npt

from edge_agent.errors import InferenceError
from edge_agent.inference import postprocess, signals
from edge_agent.inference.engine import Engine, choose_variant
from edge_agent.inference.hardware import architecture, cpu_flags
from edge_agent.inference.preprocess import Preprocessor, make_preprocessor
from edge_agent.judgement import Prediction
from edge_agent.sample import Sample
from edge_protocol import bundle
from edge_protocol.batch import Context
from edge_protocol.bundle import Manifest, OperatingPoint
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
        self.preprocessor = preprocessor
        self._engine = engine
        self._tensor = preprocessor.new_tensor()
        self._contexts: dict[str, Context] = {}

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        variant: str | None = None,
        cache: Path | None = None,
        threads: int = 1,
        optimise: bool = True,
    ) -> "Model":
        """The model of a bundle folder, checked against its manifest and warmed up.

        Without `variant` the one that suits this processor is taken. `optimise=False` runs the graph node by node:
        slow, and an int8 variant then computes what its arithmetic means on any processor.

        Raises:
            InferenceError: NO_MODEL: no bundle, a damaged one, or one that cannot run here.
        """
        try:
            manifest, digest = bundle.read(folder)
            chosen = manifest.variant(variant) if variant else choose_variant(manifest, cpu_flags(), architecture())
            # A gateway fetches only what it runs: the other variants' files need not be there.
            bundle.check_files(manifest, folder, bundle.needed(manifest, chosen.name))
            # Digest and load see the same bytes: a file that changes in between is not run.
            content = _read_checked(folder, manifest, chosen.file)
        except ManifestError as error:
            raise InferenceError(str(error), error.hint, Reason.NO_MODEL) from error
        engine = Engine(content, threads=threads, cache=cache, optimise=optimise)
        preprocessor = make_preprocessor(manifest.input)
        _check_graph(manifest, preprocessor, engine)
        model = cls(manifest, digest, chosen.name, preprocessor, engine)
        model.reference = _read_reference(folder, manifest)
        engine.warm_up({preprocessor.tensor_name: model.new_tensor()})
        return model

    def new_tensor(self) -> Array:
        """A tensor for `write` and `predict`."""
        return self.preprocessor.new_tensor()

    def decode(self, sample: Sample) -> Array:
        """The checked values of the sample's channel.

        Raises:
            InferenceError: with the reason why it cannot be judged.
        """
        if sample.fault is not Reason.NONE:
            raise InferenceError(sample.detail or "the source gave nothing to judge", "", sample.fault)
        channel = sample.channels.get(self.preprocessor.channel)
        if channel is None and len(sample.channels) == 1:
            channel = next(iter(sample.channels.values()))
        if channel is None:
            message = f"the sample has no channel {self.preprocessor.channel!r}"
            hint = f"it has {', '.join(sample.channels) or 'none'}: name the source's channel as the bundle does"
            raise InferenceError(message, hint, Reason.WRONG_SHAPE)
        return self.preprocessor.decode(channel.data)

    def signals(self, array: Array) -> dict[str, float]:
        """The monitored quantities of decoded values, without the score."""
        return signals.of(array)

    def write(self, array: Array, tensor: Array) -> None:
        """Preprocess decoded values into a tensor of `new_tensor`.

        Raises:
            InferenceError: with the reason why it cannot be judged.
        """
        self.preprocessor.write(array, tensor)

    def run(self, tensor: Array) -> dict[str, Array]:
        """The graph's outputs by name.

        Raises:
            InferenceError: ENGINE_FAULT.
        """
        return self._engine.run({self.preprocessor.tensor_name: tensor})

    def predict(self, tensor: Array) -> Prediction:
        """What the model says of a tensor.

        Raises:
            InferenceError: ENGINE_FAULT.
        """
        return postprocess.predict(self.manifest.output, self.run(tensor))

    def judge(self, sample: Sample) -> tuple[Prediction, dict[str, float]]:
        """Prediction and signals of a sample, in one thread.

        Raises:
            InferenceError: with the reason why it cannot be judged.
        """
        array = self.decode(sample)
        found = self.signals(array)
        self.write(array, self._tensor)
        return self.predict(self._tensor), found

    def verdict(self, prediction: Prediction) -> tuple[Verdict, Reason]:
        """The verdict of a prediction at this model's operating point."""
        return postprocess.verdict(prediction, self.operating_point)

    def context(self, pipeline: str) -> Context:
        """What stands with each verdict of `pipeline` to say what judged it."""
        if pipeline not in self._contexts:
            is_own = self.operating_point == self.manifest.operating_point
            point = b"" if is_own else hashlib.sha256(msgspec.json.encode(self.operating_point)).digest()
            self._contexts[pipeline] = Context(
                pipeline, self.manifest.name, self.manifest.version, bytes.fromhex(self.digest), self.variant, point
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


def _check_graph(manifest: Manifest, preprocessor: Preprocessor, engine: Engine) -> None:
    name, tensor = preprocessor.tensor_name, preprocessor.new_tensor()
    kind, shape = engine.inputs.get(name, ("", ()))
    fits = len(shape) == tensor.ndim and all(
        a == b or isinstance(a, str) for a, b in zip(shape, tensor.shape, strict=True)
    )
    if set(engine.inputs) != {name} or kind != _TENSOR_KINDS[tensor.dtype.name] or not fits:
        message = f"the graph takes {engine.inputs}, the manifest says {name} {tensor.dtype}{list(tensor.shape)}"
        raise InferenceError(message, "make the bundle again", Reason.NO_MODEL)
    missing = set(postprocess.output_names(manifest.output)) - set(engine.outputs)
    if missing:
        message = f"the graph has no output {', '.join(sorted(missing))}"
        raise InferenceError(message, "make the bundle again", Reason.NO_MODEL)


_TENSOR_KINDS = {"float32": "tensor(float)", "uint8": "tensor(uint8)"}
