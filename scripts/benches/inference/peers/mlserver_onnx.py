# mypy: ignore-errors
"""Run by MLServer in an environment of its own: the thinnest ONNX runtime for it, ours, for it brings none.

The tensor comes as numbers in JSON, or as base64 of its bytes, the nearest thing to binary that its HTTP side takes.
"""

import json
import os

import numpy as np
import onnxruntime as ort
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class OnnxModel(MLModel):
    """One session with the options that are told."""

    async def load(self) -> bool:
        """Open the session."""
        how = json.loads(os.environ["BENCH_MODEL"])
        options = ort.SessionOptions()
        options.intra_op_num_threads = how["threads"]
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.enable_cpu_mem_arena = how["arena"]
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(how["file"], options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._shape = how["shape"]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Tensors in and out."""
        given = payload.inputs[0]
        if given.datatype == "BYTES":
            array = np.frombuffer(self.decode(given)[0], np.float32).reshape(self._shape)
        else:
            array = np.asarray(given.data.root, np.float32).reshape(given.shape)
        values = self._session.run(None, {self._input: array})
        names = [each.name for each in self._session.get_outputs()]
        outputs = [
            ResponseOutput(name=name, shape=list(value.shape), datatype="FP32", data=value.ravel().tolist())
            for name, value in zip(names, values, strict=True)
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)
