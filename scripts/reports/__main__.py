"""`scripts/build_models --report` ends with this: figures that belong to no bundle, where their data is there."""

import sys

from cloud_hub.errors import FactoryError
from cloud_hub.factory import early_warning
from scripts.reports import vibration_cost


def main() -> None:
    """Print each figure, or say which data it lacks."""
    try:
        lines = early_warning.report(early_warning.measure())
    except FactoryError as error:
        lines = [f"slow-drift: not measured: {error}"]
    lines += vibration_cost.report()
    sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
