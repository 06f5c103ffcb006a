"""The publisher's machine: its key, the offline keys, and what it hands in. A folder apart from the hub's."""

from pathlib import Path

from scripts.day.children import say_json

PUBLISHER = "vision"


class Desk:
    """Keys in a folder; releases are signed here and nowhere else."""

    def __init__(self, folder: Path, hub: Path) -> None:
        self._hub = ["--hub", str(hub)]
        self._offline = folder / "offline"
        self._key = folder / f"{PUBLISHER}.pem"
        self.releases = folder / "releases"

    def make_keys(self, *bundles: str) -> None:
        """The offline keys and the hub's online one; a publisher who may sign these bundles."""
        self.releases.mkdir(parents=True)
        say_json(["cloud-hub", "keys", "init", "--out", str(self._offline), *self._hub])
        public = say_json(["cloud-hub", "keys", "new", str(self._key)])["public"]
        paths = [word for bundle in bundles for word in ("--paths", bundle)]
        signed = ["--keys", str(self._offline), *self._hub]
        say_json(["cloud-hub", "keys", "delegate", PUBLISHER, public, *paths, *signed])

    def publish(self, bundle: Path, *, floor: str = "") -> None:
        """Sign a bundle and hand it in."""
        lowest = ["--floor", floor] if floor else []
        say_json(["cloud-hub", "publish", str(bundle), "--key", str(self._key), *lowest, *self._hub])
