"""A pinned release of somebody else's comes in by name, its files go out; what is kept is compared with its digest.

Packages come by their registry's ordinary client. Where there is none, the refusal says the one command and the place.
"""

import hashlib
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cloud_hub.errors import FactoryError, LeftOut

DOWNLOADS = Path(__file__).resolve().parents[2] / ".lineside" / "downloads"
"""Where downloads are kept: in the checkout, out of its history."""

_PATIENCE_S = 300


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """A release of a package on npm, as one archive of a known SHA-256."""

    name: str
    version: str
    sha256: str

    @property
    def archive(self) -> str:
        """The archive's file name, as npm calls it."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"

    def fetch(self, folder: Path = DOWNLOADS) -> Path:
        """The archive in `folder`, fetched by npm unless it is there.

        Raises:
            LeftOut: npm is not there or does not get it.
        FactoryError: the archive is another one.
        """
        archive = folder / self.archive
        if not archive.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            where = ["--pack-destination", str(folder)]
            _run(["npm", "pack", f"{self.name}@{self.version}", "--silent", "--fetch-retries=1", *where])
        return _checked(archive, self.sha256)

    def extract(self, names: Sequence[str], folder: Path) -> list[Path]:
        """The files called `names` in the package, copied into `folder`.

        Raises:
            FactoryError: as `fetch`, or the package has no such file.
        """
        folder.mkdir(parents=True, exist_ok=True)
        archive = self.fetch()
        try:
            with tarfile.open(archive) as package:
                for name in names:
                    (folder / Path(name).name).write_bytes(_member(package, f"package/{name}"))
        except (OSError, tarfile.TarError, KeyError) as error:
            message = f"{archive.name} does not hold what is needed: {error}"
            raise FactoryError(message, f"remove {archive}, so that it is fetched again") from error
        return [folder / Path(name).name for name in names]


def fetch_from_debian(package: str, path: str, sha256: str, folder: Path = DOWNLOADS) -> Path:
    """One file of a Debian package, copied into `folder` without installing the package: no root is needed.

    Raises:
        LeftOut: there is no apt here, or it does not get the package.
        FactoryError: the package has no such file, or it is another one.
    """
    file = folder / Path(path).name
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        work = folder / f".{package}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            _download(package, work)
            archive = next(work.glob("*.deb"))
            # dpkg itself would leave documentation out where an image is told to be small.
            _run(["dpkg-deb", "--extract", archive.name, "content"], work)
            shutil.move(work / "content" / path, file)
        except (OSError, StopIteration) as error:
            message = f"the Debian package {package} has no {path}"
            raise FactoryError(message, f"copy {file.name} into {folder} yourself") from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return _checked(file, sha256)


def _download(package: str, work: Path) -> None:
    try:
        _run(["apt-get", "download", "-qq", package], work)
    except LeftOut:
        # A fresh machine has no lists of packages yet; only root may fetch them.
        _run(["apt-get", "update", "-qq"])
        _run(["apt-get", "download", "-qq", package], work)


def _member(package: tarfile.TarFile, name: str) -> bytes:
    content = package.extractfile(name)
    if content is None:
        message = f"{name} is no file"
        raise KeyError(message)
    return content.read()


def _run(command: list[str], folder: Path | None = None) -> None:
    said = " ".join(command)
    try:
        subprocess.run(  # noqa: S603 - a client of the machine, called with names that stand in a recipe
            command, cwd=folder, check=True, capture_output=True, timeout=_PATIENCE_S
        )
    except FileNotFoundError as error:
        message = f"{command[0]} is not installed"
        raise LeftOut(message, f"where it is, run: {said}") from error
    except subprocess.SubprocessError as error:
        message = f"{command[0]} did not get what is needed: {_last_line(error)}"
        raise LeftOut(message, f"where a network is, run: {said}") from error


def _last_line(error: subprocess.SubprocessError) -> str:
    told = getattr(error, "stderr", None) or b""
    lines = told.decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else str(error)


def _checked(file: Path, sha256: str) -> Path:
    try:
        with file.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}"
        raise FactoryError(message, "make it readable, or remove it so that it is fetched again") from error
    if found != sha256:
        message = f"{file} is not the file that the recipe was written for"
        raise FactoryError(message, f"remove it, so that it is fetched again; its SHA-256 must be {sha256}")
    return file
