"""How board-anomaly is made: `python models/board-anomaly/recipe.py --out DIR` writes DIR/board-anomaly.

Scans of printed circuit boards, each clean and with defects, in pieces of a third of a side. By the boards' numbers in
order: the first 45 teach, the next 15 set the thresholds, the last 40 are judged.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from cloud_hub.factory import photographed
from cloud_hub.factory.command import run_recipe
from cloud_hub.factory.photographed import Parts, Picture, Plan
from cloud_hub.factory.photographs import cut, find_collection, read_folder
from cloud_hub.factory.run import Say
from edge_protocol.bundle import Licence

HERE = Path(__file__).resolve().parent
ORIGIN = "group 44000 of DeepPCB, tangsanli5201/DeepPCB, MIT"
TAUGHT, CHOSEN = 45, 60
FOLDS, SIDE, EVERY = 5, 213, 2
"""Of the boards that teach every second piece is used: a copper pattern repeats itself."""

LICENCES = (
    Licence(what="scans of boards, in the goldens too", licence="MIT", origin=ORIGIN),
    Licence(what="head, thresholds", licence="Apache-2.0", origin="Lineside"),
)


def build(out: Path, say: Say) -> Path:
    """Make the bundle in `out`; its folder."""
    folder = find_collection("pcb", ORIGIN)
    boards = sorted(path.stem.removesuffix("_temp") for path in (folder / "44000").glob("*_temp.jpg"))
    parts = Parts(
        folds=[list(clean(folder, boards[n:TAUGHT:FOLDS]))[::EVERY] for n in range(FOLDS)],
        chosen=tuple(list(pieces(folder, boards[TAUGHT:CHOSEN])) for pieces in (clean, defective)),  # type: ignore[arg-type]
        tested={"boards": (list(clean(folder, boards[CHOSEN:])), list(defective(folder, boards[CHOSEN:])))},
        sources={"pcb": folder},
    )
    return photographed.build(Plan(HERE / "recipe.py", LICENCES), parts, out, say)


def clean(folder: Path, boards: Sequence[str]) -> Iterator[Picture]:
    """All pieces of the clean scans."""
    for board in boards:
        (scan,) = read_folder(folder / "44000", f"{board}_temp.jpg")
        yield from cut(scan, SIDE).values()


def defective(folder: Path, boards: Sequence[str]) -> Iterator[Picture]:
    """The pieces of the other scans that hold the centre of a defect."""
    for board in boards:
        (scan,) = read_folder(folder / "44000", f"{board}_test.jpg")
        lines = (folder / "44000_not" / f"{board}.txt").read_text().splitlines()
        boxes = [[int(word) for word in line.split()[:4]] for line in lines]
        places = {((y1 + y2) // 2 // SIDE, (x1 + x2) // 2 // SIDE) for x1, y1, x2, y2 in boxes}
        yield from (piece for place, piece in cut(scan, SIDE).items() if place in places)


if __name__ == "__main__":
    run_recipe(build, HERE / "recipe.py")
