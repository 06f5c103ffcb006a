# mypy: ignore-errors
"""Run with LitServe in an environment of its own: one session, the tensor as base64 in JSON or as an uploaded file."""

import base64
import json
import os
import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime as ort
from fastapi import Request


class OnnxApi(litserve.LitAPI):
    """One session with the options that are told."""

    def setup(self, device: str) -> None:  # noqa: ARG002 (the seam's signature)
        """Open the session, in the worker."""
        how = json.loads(os.environ["BENCH_MODEL"])
        options = ort.SessionOptions()
        options.intra_op_num_threads = how["threads"]
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.enable_cpu_mem_arena = how["arena"]
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(how["file"], options, providers=["CPUExecutionProvider"])
        self._names = [each.name for each in self._session.get_outputs()]
        self._input = self._session.get_inputs()[0].name
        self._shape = how["shape"]

    def decode_request(self, request: Request) -> np.ndarray:
        """The tensor."""
        given = request["tensor"]
        content = base64.b64decode(given) if isinstance(given, str) else given.file.read()
        return np.frombuffer(content, np.float32).reshape(self._shape)

    def predict(self, array: np.ndarray) -> list[np.ndarray]:
        """Tensors in and out."""
        return self._session.run(None, {self._input: array})

    def encode_response(self, values: list[np.ndarray]) -> dict[str, Any]:
        """The outputs by name."""
        return {name: value.ravel().tolist() for name, value in zip(self._names, values, strict=True)}


if __name__ == "__main__":
    server = litserve.LitServer(OnnxApi(), accelerator="cpu", workers_per_device=1, fast_queue="--fast" in sys.argv)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
