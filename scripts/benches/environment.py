"""Virtual environments for peers: made once by pip beside the checkout, never part of ours."""

import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

from scripts.benches.failure import BenchError

FOLDER = Path(__file__).parents[2] / ".lineside" / "peers"

ONNXRUNTIME = "onnxruntime"
PACKAGES: dict[str, tuple[str, ...]] = {
    "mlserver": ("mlserver==1.7.1", ONNXRUNTIME),
    "litserve": ("litserve==0.2.19", ONNXRUNTIME),
    "triton": ("tritonclient[http]==2.73.0",),
}
"""Environment → what is installed into it; ONNX Runtime in the very version that we run."""

_MADE = "made"


def python(peer: str) -> Path:
    """The Python of a peer's environment, made where it is not there yet.

    Raises:
        BenchError: it cannot be made; pip's last words say why.
    """
    folder = FOLDER / peer
    program = folder / "bin" / "python"
    wanted = [_pinned(package) for package in PACKAGES[peer]]
    made = folder / _MADE
    if made.is_file() and made.read_text().split() == wanted:
        return program
    print(f"  making the environment of {peer}: pip install {' '.join(wanted)}", file=sys.stderr, flush=True)
    venv.create(folder, with_pip=True, clear=True)
    command: list[str | Path] = [program, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"the environment of {peer} cannot be made"
        raise BenchError(message, "\n".join(done.stderr.splitlines()[-4:]))
    made.write_text("\n".join(wanted))
    return program


def _pinned(package: str) -> str:
    if package != ONNXRUNTIME:
        return package
    return f"{ONNXRUNTIME}=={version(ONNXRUNTIME)}"


if __name__ == "__main__":
    for name in sys.argv[1:] or PACKAGES:
        print(python(name))
