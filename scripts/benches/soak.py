"""`scripts/soak [HOURS]`: the long form of the soak in `scripts/bench inference`, with every picture of those hours."""

import sys

from scripts.benches import goals
from scripts.benches.ground import supplies
from scripts.benches.ground.gateway import PART_HZ
from scripts.benches.inference import soak


def main(hours: float) -> None:
    """Print the slope of the memory, kB for 1,000 parts, and whether it is one."""
    supplies.build_missing()
    with supplies.workplace() as folder:
        windows, pictures = round(hours * 3600 * soak.WINDOW_HZ), round(hours * 3600 * PART_HZ)
        print(goals.table(soak.measure(folder, windows, pictures), soak.FIGURES, {}, ()))


if __name__ == "__main__":
    main(float(sys.argv[1]))
