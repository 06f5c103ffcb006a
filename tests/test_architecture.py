"""The house as it is drawn in pyproject.toml, README.md and the errors' docstrings is the house as it stands."""

import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("edge_protocol", "edge_agent", "cloud_hub")
FOLDERS = (*PACKAGES, "models", "scripts", "tests")
MAX_LINES = 400
NO_NAMES = {"utils", "helpers", "common", "core", "base", "manager", "handler", "service", "types", "misc"}
PROGRAMS = {"edge-agent": "edge_agent.cli.main", "cloud-hub": "cloud_hub.cli.main"}


def sources() -> list[Path]:
    """Every file that a person here has written to be run."""
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    return [path for path in found if path.suffix == ".py" or (path.suffix == "" and path.parent.name == "scripts")]


def error_files() -> list[Path]:
    """Every file that draws an error tree."""
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("errors.py"))


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """The import contracts, checked on the packages in `folder`."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    wide = os.environ | {"COLUMNS": "200"}  # else long names of contracts are broken over lines
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=wide)


def test_imports_go_down_the_floors() -> None:
    """Every import contract of pyproject.toml holds."""
    result = lint_imports(ROOT)

    assert result.returncode == 0, result.stdout


PLANTED = [
    ("edge_protocol/link.py", "import edge_agent", "The protocol knows neither side"),
    ("edge_protocol/link.py", "import paho.mqtt.client", "paho is imported"),
    ("edge_agent/errors.py", "import apsw", "apsw is imported"),
    ("edge_agent/errors.py", "import sqlite3", "No second SQLite library"),
    ("edge_agent/errors.py", "import onnxruntime", "onnxruntime is imported"),
    ("edge_agent/errors.py", "import cloud_hub", "The agent does not know the hub"),
    ("edge_agent/errors.py", "import scipy.stats", "What is for the hub or for training"),
    ("edge_agent/errors.py", "import scripts", "models, scripts and tests"),
    ("edge_agent/errors.py", "import edge_agent.sources", "The agent's imports go down the floors"),
    ("edge_agent/nowhere.py", "import edge_agent.sources", "The agent's imports go down the floors"),
    ("edge_agent/sources/folder.py", "import edge_agent.outputs", "The agent's imports go down the floors"),
    ("cloud_hub/errors.py", "import edge_agent", "The hub does not know the agent"),
    ("cloud_hub/errors.py", "import obstore", "obstore is imported"),
    ("cloud_hub/errors.py", "import cloud_hub.storage", "The hub's imports go down the floors"),
    ("cloud_hub/errors.py", "import fastapi", "The web framework stays"),
    ("cloud_hub/errors.py", "import tuf.api.metadata", "python-tuf stays"),
    ("edge_agent/errors.py", "import securesystemslib.signer", "python-tuf stays"),
]


@pytest.mark.parametrize(("file", "line", "contract"), PLANTED)
def test_an_import_against_the_floors_is_found(file: str, line: str, contract: str, tmp_path: Path) -> None:
    """A contract that holds because it looks nowhere is no contract: each finds what is planted for it."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for path in [*(f"{package}/__init__.py" for package in PACKAGES), "edge_agent/sources/__init__.py",
                 "edge_agent/outputs/__init__.py", "cloud_hub/storage/__init__.py", file]:  # fmt: skip
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / file).write_text(line + "\n")

    result = lint_imports(tmp_path)

    broken = [found for found in result.stdout.splitlines() if found.endswith("BROKEN")]
    assert any(contract in found for found in broken), result.stdout


@pytest.mark.parametrize("path", error_files(), ids=lambda path: path.parent.name)
def test_the_error_tree_is_the_one_that_is_drawn(path: Path) -> None:
    """The tree in the docstring of an `errors.py` names every class and its parent, and no other."""
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))

    drawn = dict(drawn_tree(module.__doc__ or ""))

    classes = {
        name: kind
        for name, kind in vars(module).items()
        if isinstance(kind, type) and kind.__module__ == module.__name__
    }
    real = {
        name: kind.__base__.__name__ for name, kind in classes.items() if issubclass(kind, Exception) and kind.__base__
    }
    assert drawn == real


def drawn_tree(docstring: str) -> Iterator[tuple[str, str]]:
    """Each class of a tree drawn with ├── and └──, with the class that it hangs from; a root hangs from Exception."""
    above: list[tuple[int, str]] = []
    for line in docstring.partition("\n\n")[2].splitlines():
        found = re.match(r"([\s│├└─]*)([A-Z]\w+)(\s\s|$)", line)
        if found is None:
            continue
        column = len(found[1])
        above = [(left, name) for left, name in above if left < column]
        yield found[2], above[-1][1] if above else "Exception"
        above.append((column, found[2]))


def test_no_file_is_too_long_to_read() -> None:
    """A file above 400 lines lacks a noun."""
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}

    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}


def test_a_file_is_named_after_what_it_holds() -> None:
    """No file and no folder is called by a word that could hold anything."""
    words = {str(path.relative_to(ROOT)): {*path.relative_to(ROOT).parent.parts, path.stem} for path in sources()}

    assert [path for path, names in words.items() if names & NO_NAMES] == []


def commands(program: click.Command, name: str) -> Iterator[str]:
    """Every command of a program, in full."""
    if isinstance(program, click.Group):
        context = click.Context(program)
        for verb in program.list_commands(context):
            command = program.get_command(context, verb)
            assert command is not None, verb
            yield from commands(command, f"{name} {verb}")
    else:
        yield name


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_command_is_shown_in_the_readme(program: str) -> None:
    """README.md shows each command of both programs at least once."""
    readme = (ROOT / "README.md").read_text()

    found = list(commands(importlib.import_module(PROGRAMS[program]).verbs, program))

    assert len(found) > 1
    assert [command for command in found if command not in readme] == []


def test_every_script_is_named_in_the_readme() -> None:
    """README.md names each program in scripts/, the developer's manual."""
    programs = [path.name for path in (ROOT / "scripts").iterdir() if path.is_file() and path.suffix == ""]
    readme = (ROOT / "README.md").read_text()

    assert programs
    assert [name for name in programs if f"scripts/{name}" not in readme] == []


def test_what_is_carried_of_others_is_noted() -> None:
    """NOTICE names each vendored package, and each lies there with its licence."""
    vendor = ROOT / "cloud_hub/web/static/vendor"
    notice = (ROOT / "NOTICE").read_text()

    packages = json.loads((vendor / "vendor.json").read_text())["packages"]

    assert [package["name"] for package in packages if package["name"] not in notice] == []
    assert [folder.name for folder in vendor.iterdir() if folder.is_dir() and not (folder / "LICENSE").exists()] == []


def test_every_config_key_is_documented() -> None:
    """The agent's README has each key of its TOML in the row of a table."""
    if not (ROOT / "edge_agent/README.md").exists():
        pytest.skip("edge_agent/README.md is not written yet")
    tables = [ast.parse(path.read_text()) for path in (ROOT / "edge_agent/settings").glob("*.py")]
    keys = {
        field.target.id
        for table in (node for module in tables for node in ast.walk(module))
        if isinstance(table, ast.ClassDef)
        for field in table.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    }
    rows = [line for line in (ROOT / "edge_agent/README.md").read_text().splitlines() if line.startswith("|")]

    assert keys
    assert [key for key in keys if not any(f"`{key}`" in row for row in rows)] == []
