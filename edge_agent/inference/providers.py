"""The execution providers of ONNX Runtime by name, and what has to be installed for each; pure."""

CPU = "CPUExecutionProvider"

WHEELS = {
    "OpenVINOExecutionProvider": "onnxruntime-openvino",
    "CUDAExecutionProvider": "onnxruntime-gpu",
    "TensorrtExecutionProvider": "onnxruntime-gpu and TensorRT",
    "QNNExecutionProvider": "onnxruntime-qnn",
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


def why_not(provider: str) -> str:
    """The sentence for a provider that is not there: what would bring it."""
    wheel = WHEELS.get(provider)
    if wheel is None:
        return f"{provider} is not a provider that is known here"
    return f"{provider} is not installed: it comes with {wheel}, in place of onnxruntime"
