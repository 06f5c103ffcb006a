"""`scripts/bench NAME [--json FILE]`: measures one folder in here, prints its figures and writes them down.

Such a package has `FIGURES` (key → what it says, with its goal) and `measure() -> dict[str, float]`, and may print its
progress. A key that is not documented there is an error, so is one that was not measured. `OBSTACLES`, if it is there,
says by key what stands in the way of a goal that is missed.
"""

import argparse
import importlib
import json
import sys
from pathlib import Path

from edge_agent.inference.hardware import cpu_flags
from scripts.benches import goals, machine
from scripts.benches.failure import BenchError

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """What can be measured."""
    return sorted(path.parent.name for path in FOLDER.glob("*/__init__.py"))


def main(arguments: list[str] | None = None) -> int:
    """Run the bench that is asked for; the exit code is 0, or 2 where the call or the bench is wrong."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure and print figures.")
    parser.add_argument("name", nargs="?", choices=names(), help="which bench; without one they are listed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write bench, machine and figures to FILE")
    asked = parser.parse_args(arguments)
    if asked.name is None:
        print("\n".join(names()))
        return 0
    bench = importlib.import_module(f"scripts.benches.{asked.name}")
    here = machine.describe()
    print(f"{asked.name} on {here['cpu']}, {here['cores']} cores", flush=True)
    try:
        figures: dict[str, float] = bench.measure()
    except BenchError as error:
        print(f"{asked.name}: {error}\n  try: {error.hint}", file=sys.stderr)
        return 2
    if figures.keys() != bench.FIGURES.keys():
        print(f"{asked.name}: FIGURES and what was measured differ: {sorted(figures.keys() ^ bench.FIGURES.keys())}")
        return 2
    print(goals.table(figures, bench.FIGURES, getattr(bench, "OBSTACLES", {}), cpu_flags()))
    if asked.json is not None:
        asked.json.write_text(json.dumps({"bench": asked.name, "machine": here, "figures": figures}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
