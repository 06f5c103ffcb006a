"""A model of TensorFlow.js and pictures come in, what TensorFlow.js itself makes of them goes out, run by Node.js.

The framework's own resize, arithmetic and decoding: nothing of our pipeline takes part. Slow, and only for goldens.
"""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cloud_hub.errors import FactoryError, LeftOut
from cloud_hub.factory.fetch import NpmPackage

FRAMEWORK = NpmPackage("@tensorflow/tfjs", "4.22.0", "56505c191e24116787477b3bb5bb1cc0cf1c2bdce8112b9c402a8a2d31cf2f00")

_LIBRARY = "dist/tf.min.js"
_PATIENCE_S = 900
_SCRIPT = """
const fs = require('fs');
const tf = require('./tf.cjs');
const task = JSON.parse(fs.readFileSync('task.json'));
async function main() {
  await tf.setBackend('cpu');
  const model = JSON.parse(fs.readFileSync(task.graph));
  const bytes = fs.readFileSync(task.weights);
  const weightData = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  const weightSpecs = model.weightsManifest.flatMap((group) => group.weights);
  const graph = await tf.loadGraphModel(tf.io.fromMemory({ ...model, weightSpecs, weightData }));
  for (const [n, picture] of task.pictures.entries()) {
    const pixels = tf.tensor(Float32Array.from(fs.readFileSync(picture.file)), [1, ...picture.shape]);
    const resized = tf.image.resizeBilinear(pixels, task.size, false, true);
    for (const [m, output] of [].concat(graph.execute(resized, task.outputs)).entries()) {
      fs.writeFileSync(`${n}-${m}.f4`, Buffer.from((await output.data()).buffer));
      fs.writeFileSync(`${n}-${m}.json`, JSON.stringify(output.shape));
    }
  }
}
main().catch((error) => { console.error(error.message); process.exit(1); });
"""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TfjsModel:
    """A model's two files, and the height and width of its input."""

    graph: Path
    weights: Path
    size: tuple[int, int]


def require() -> None:
    """See that `run` has what it needs, before hours of other work.

    Raises:
        LeftOut: node or the framework is not there.
    """
    FRAMEWORK.fetch()
    if shutil.which("node") is None:
        message = "Node.js is not installed, which runs the framework that the model comes from"
        raise LeftOut(message, "install node 18 or later")


def run(
    model: TfjsModel, outputs: Sequence[str], pictures: Sequence[npt.NDArray[np.uint8]], work: Path
) -> list[list[Floats]]:
    """The outputs that TensorFlow.js gives for each picture [height, width, 3] in RGB.

    Raises:
        LeftOut: node or the framework is not there.
        FactoryError: it failed.
    """
    require()
    work.mkdir(parents=True, exist_ok=True)
    (library,) = FRAMEWORK.extract([_LIBRARY], work)
    library.rename(work / "tf.cjs")
    (work / "run.cjs").write_text(_SCRIPT)
    task = {
        "graph": str(model.graph.absolute()),
        "weights": str(model.weights.absolute()),
        "size": model.size,
        "outputs": list(outputs),
        "pictures": [{"file": f"{n}.rgb", "shape": picture.shape} for n, picture in enumerate(pictures)],
    }
    (work / "task.json").write_text(json.dumps(task))
    for n, picture in enumerate(pictures):
        (work / f"{n}.rgb").write_bytes(picture.tobytes())
    _node(work)
    return [[_read(work / f"{n}-{m}") for m in range(len(outputs))] for n in range(len(pictures))]


def _node(work: Path) -> None:
    try:
        subprocess.run(
            ["node", "run.cjs"],  # noqa: S607 - whichever node is on the path
            cwd=work,
            check=True,
            capture_output=True,
            timeout=_PATIENCE_S,
        )
    except subprocess.SubprocessError as error:
        told = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip().splitlines()
        message = f"TensorFlow.js failed: {told[-1][:200] if told else error}"
        raise FactoryError(message, "run the recipe again; if it stays, look at the version of node") from error


def _read(file: Path) -> Floats:
    shape = json.loads(file.with_suffix(".json").read_text())
    return np.frombuffer(file.with_suffix(".f4").read_bytes(), np.float32).reshape(shape)
