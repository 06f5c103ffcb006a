"""What `scripts/build_models` asks of the programs below it, in a checkout where those only say what it was."""

import shutil
import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "scripts" / "build_models"


@pytest.mark.parametrize("asked", [["--out", "elsewhere"], ["--out=elsewhere"]])
def test_the_report_is_about_the_folder_that_was_built_into(tmp_path: Path, asked: list[str]) -> None:
    """However `--out` is written, recipe and report are told the same folder."""
    (tmp_path / "models" / "small").mkdir(parents=True)
    (tmp_path / "models" / "small" / "recipe.py").touch()
    for name in ("scripts/setup", ".venv/bin/python"):
        program = tmp_path / name
        program.parent.mkdir(parents=True)
        program.write_text('#!/bin/sh\necho "$@"\n')
        program.chmod(0o755)
    shutil.copy(PROGRAM, tmp_path / "scripts")

    done = subprocess.run(
        [tmp_path / "scripts" / PROGRAM.name, "--report", *asked, "small"], capture_output=True, text=True, check=True
    )

    _setup, recipe, report = done.stdout.splitlines()
    assert recipe == f"models/small/recipe.py --if-changed --report {' '.join(asked)}"
    assert report == "-m scripts.reports elsewhere"
