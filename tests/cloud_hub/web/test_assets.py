"""Everything a page loads lies here, is what it says it is, and nothing points anywhere else."""

import hashlib
import json
import re
from pathlib import Path

import pytest

import cloud_hub.web
from cloud_hub.web.marks import FINDINGS, STATES, VERDICTS
from edge_protocol.codes import FindingState, Verdict

WEB = Path(cloud_hub.web.__file__).parent
VENDOR = WEB / "static" / "vendor"
PACKAGES = json.loads((VENDOR / "vendor.json").read_text())["packages"]
OURS = [path for folder in ("static", "templates") for path in (WEB / folder).rglob("*")
        if path.is_file() and VENDOR not in path.parents]  # fmt: skip


def test_vendored_files_are_the_ones_that_were_taken() -> None:
    """Each foreign file has the digest that is written down for it, and none lies here unwritten."""
    listed = {file["path"]: file["sha256"] for package in PACKAGES for file in package["files"]}

    found = {
        str(path.relative_to(VENDOR)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name != "vendor.json"
    }

    assert found == listed


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package["name"])
def test_a_vendored_package_brings_its_licence(package: dict[str, object]) -> None:
    """Name, version and licence are written down, and the licence's text lies beside the files."""
    folders = {VENDOR / file["path"].split("/")[0] for file in package["files"]}  # type: ignore[attr-defined]

    assert package["version"]
    assert package["licence"] in {"MIT", "0BSD", "ISC", "OFL-1.1"}
    assert all((folder / "LICENSE").stat().st_size > 300 for folder in folders)


def test_only_icons_in_use_are_here() -> None:
    """Each icon lies here because a page shows it."""
    words = "".join(path.read_text() for path in (WEB / "templates").rglob("*.html"))
    words += "".join(path.read_text() for path in (WEB / "pages").glob("*.py"))
    used = set(re.findall(r'icon(?:\(|=)"([a-z-]+)"', words))

    assert {path.stem for path in (VENDOR / "lucide").glob("*.svg")} == used


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_our_files_point_nowhere_else(path: Path) -> None:
    """No address of another machine, no script or style inside a page: the content policy forbids both."""
    text = path.read_text().replace("http://www.w3.org/2000/svg", "")

    assert re.findall(r"https?://|url\(\s*[\"']?//", text) == []
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:", text) == []
    assert re.findall(r"<script(?![^>]*\ssrc=)", text) == []


def test_every_word_of_the_protocol_has_a_mark() -> None:
    """Each verdict and each finding has a shape and a word of its own: the colour is never the only sign."""
    shown = [*VERDICTS.values(), *FINDINGS.values(), *STATES.values()]

    assert list(VERDICTS) == [verdict.name for verdict in Verdict]
    assert FINDINGS.keys() == set(FindingState)
    assert all(mark.word and mark.shape for mark in shown)
    assert len({mark.shape for mark in VERDICTS.values()}) == len(Verdict)
