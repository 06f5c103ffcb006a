"""`scripts/build_models --report` ends with this: the int8 variants, and figures of no bundle where there is data."""

import sys
from pathlib import Path

from cloud_hub.errors import FactoryError
from cloud_hub.factory import early_warning
from scripts.reports import quantization, vibration_cost


def main() -> None:
    """Print each figure of the bundles in the folder named, and of none, or say which data it lacks."""
    lines = list(quantization.report(Path(sys.argv[1])))
    try:
        lines += early_warning.report(early_warning.measure())
    except FactoryError as error:
        lines += [f"slow-drift: not measured: {error}"]
    lines += vibration_cost.report()
    sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
