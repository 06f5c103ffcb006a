"""How cookie-anomaly is made: `python models/cookie-anomaly/recipe.py --out DIR` writes DIR/cookie-anomaly.

Photographs of whole cookies, good and broken: the collection's own split into teaching and testing is kept. Of the
teaching part every fourth good cookie and all broken ones set the thresholds; the other good ones teach.
"""

from pathlib import Path

from cloud_hub.factory import photographed
from cloud_hub.factory.command import run_recipe
from cloud_hub.factory.photographed import Parts, Plan, turned
from cloud_hub.factory.photographs import find_collection, read_folder
from cloud_hub.factory.run import Say
from edge_protocol.bundle import Licence

HERE = Path(__file__).resolve().parent
ORIGIN = "cookie-dataset of aws-samples/amazon-lookout-for-vision, CC BY-SA 4.0"
FOLDS, ASIDE = 6, 4

LICENCES = (
    Licence(what="photographs of cookies, in the goldens too", licence="CC-BY-SA-4.0", origin=ORIGIN),
    Licence(what="head, thresholds", licence="Apache-2.0", origin="Lineside"),
)


def build(out: Path, say: Say) -> Path:
    """Make the bundle in `out`; its folder."""
    folder = find_collection("cookies", ORIGIN)
    good, broken = read_folder(folder / "train_normal"), read_folder(folder / "train_anomaly")
    taught = [picture for n, picture in enumerate(good) if n % ASIDE]
    parts = Parts(
        folds=[turned(taught[n::FOLDS]) for n in range(FOLDS)],
        chosen=(turned(good[::ASIDE]), turned(broken)),
        tested={"test": (read_folder(folder / "test_normal"), read_folder(folder / "test_anomaly"))},
        sources={"cookies": folder},
    )
    return photographed.build(Plan(HERE / "recipe.py", LICENCES), parts, out, say)


if __name__ == "__main__":
    run_recipe(build, HERE / "recipe.py")
