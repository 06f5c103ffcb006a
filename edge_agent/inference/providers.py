"""The execution providers of ONNX Runtime by name, and what has to be installed for each. Loads none of them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

CPU = "CPUExecutionProvider"


@dataclass(frozen=True, slots=True)
class Lack:
    """Why a provider does not run a model, or not it alone, and what to do about it."""

    says: str
    cure: str


@dataclass(frozen=True, slots=True)
class Plugin:
    """A library beside onnxruntime that adds a provider; `module` knows where it lies, `package` brings it.

    `kind` is the device it is meant for, CPU, GPU or NPU; `settings` are its options for a number of threads.
    """

    package: str
    module: str
    kind: str
    settings: Callable[[int], dict[str, str]]


def _none(_threads: int) -> dict[str, str]:
    return {}


def _openvino(threads: int) -> dict[str, str]:
    # The option num_of_threads of the provider that was built in is ignored by the plugin, with a warning.
    return {"load_config": json.dumps({"CPU": {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}})}


PLUGINS = {
    "OpenVINOExecutionProvider": Plugin("lineside[openvino]", "onnxruntime_ep_openvino", "CPU", _openvino),
    "WebGpuExecutionProvider": Plugin("lineside[webgpu]", "onnxruntime_ep_webgpu", "GPU", _none),
    "NvTensorRTRTXExecutionProvider": Plugin(
        "onnxruntime-ep-nv-tensorrt-rtx", "onnxruntime_ep_nv_tensorrt_rtx", "GPU", _none
    ),
    "QNNExecutionProvider": Plugin("onnxruntime-qnn", "onnxruntime_qnn", "NPU", _none),
}
"""They stand beside `onnxruntime`. Only what is free to use is an extra of ours: the last two have vendors' terms."""

WHEELS = {
    "CUDAExecutionProvider": "onnxruntime-gpu",
    "TensorrtExecutionProvider": "onnxruntime-gpu and TensorRT",
    "DmlExecutionProvider": "onnxruntime-directml",
    "MIGraphXExecutionProvider": "onnxruntime-migraphx",
    "VitisAIExecutionProvider": "AMD's Vitis AI build of onnxruntime",
    "DnnlExecutionProvider": "a build of onnxruntime with --use_dnnl",
    "XnnpackExecutionProvider": "a build of onnxruntime with --use_xnnpack",
    "ACLExecutionProvider": "a build of onnxruntime with --use_acl",
    "ArmNNExecutionProvider": "a build of onnxruntime with --use_armnn",
    "RknpuExecutionProvider": "a build of onnxruntime with --use_rknpu",
    "CANNExecutionProvider": "onnxruntime-cann",
}
"""Each replaces the package `onnxruntime`: two of them in one environment overwrite each other's files."""


def name_of(provider: str) -> str:
    """The provider without the kind of device that may follow it, as in `OpenVINOExecutionProvider:GPU`."""
    return provider.partition(":")[0]


def kind_of(provider: str) -> str:
    """The kind of device that a plugin is to run on: what is named, or what it is meant for."""
    return provider.partition(":")[2] or PLUGINS[name_of(provider)].kind


def installed(provider: str) -> Plugin | None:
    """The plugin that adds a provider, if its package is there; nothing is imported."""
    plugin = PLUGINS.get(name_of(provider))
    return plugin if plugin is not None and find_spec(plugin.module) is not None else None


def lack(provider: str) -> Lack:
    """What is said of a provider that is not there, and what would bring it."""
    plugin, wheel = PLUGINS.get(name_of(provider)), WHEELS.get(provider)
    if plugin is not None:
        return Lack(f"{provider} is not installed: pip install '{plugin.package}'", "install it")
    if wheel is not None:
        return Lack(f"{provider} is not installed: it comes with {wheel}, in place of onnxruntime", "install it")
    return Lack(f"{provider} is not a provider that is known here", "make the bundle for one that is")
