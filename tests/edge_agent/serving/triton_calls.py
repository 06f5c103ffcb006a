"""Run in an environment of its own: every call that Triton's stock HTTP client makes, its answers as JSON.

Knows nothing of the product: what works here works in a customer's program.
"""

import json
import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException


def main(url: str, model: str, side: int) -> None:
    """Ask everything once, and the model in each form."""
    client = triton.InferenceServerClient(url, concurrency=2)
    rng = np.random.default_rng(1)
    array = rng.random((1, 3, side, side), dtype=np.float32)
    found = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": [client.is_model_ready(model), client.is_model_ready(model, "1.0.0")],
        "nobody_ready": client.is_model_ready("nobody"),
        "server": client.get_server_metadata(),
        "model": client.get_model_metadata(model),
        "config": client.get_model_config(model),
        "index": client.get_model_repository_index(),
        "refused": [refusal(lambda: client.load_model(model)), refusal(lambda: client.unload_model(model))],
        "wrong": refusal(lambda: client.infer(model, [tensor(array[:, :, 1:], binary=True)])),
    }
    answers = {
        "binary": client.infer(model, [tensor(array, binary=True)], request_id="7"),
        "chosen": client.infer(
            model,
            [tensor(array, binary=True)],
            model_version="1.0.0",
            outputs=[triton.InferRequestedOutput("score"), triton.InferRequestedOutput("map", binary_data=False)],
        ),
        "json": client.infer(
            model,
            [tensor(array, binary=False)],
            outputs=[triton.InferRequestedOutput(name, binary_data=False) for name in ("score", "map")],
        ),
    }
    pending = [client.async_infer(model, [tensor(array, binary=True)]) for _ in range(8)]
    answers |= {f"async {n}": each.get_result() for n, each in enumerate(pending)}
    found["id"] = answers["binary"].get_response()["id"]
    found["scores"] = {how: answer.as_numpy("score").tolist() for how, answer in answers.items()}
    found["maps"] = {how: answer.as_numpy("map").tolist() for how, answer in answers.items()}
    found["array"] = array.ravel().tolist()
    found["count"] = client.get_inference_statistics(model)["model_stats"][0]["inference_count"]
    found["models"] = len(client.get_inference_statistics()["model_stats"])
    client.close()
    json.dump(found, sys.stdout)


def tensor(array: np.ndarray, *, binary: bool) -> triton.InferInput:
    """The array as an input."""
    given = triton.InferInput("image", list(array.shape), "FP32")
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def refusal(call: object) -> str:
    """What a call is refused with."""
    try:
        call()
    except InferenceServerException as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
