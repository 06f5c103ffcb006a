"""Publishing over a real server: what is wrong is found on the publisher's machine, before anything is sent."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cloud_hub.access import keys
from cloud_hub.clock import FixedClock
from cloud_hub.config import Config, Settings
from cloud_hub.context import HubContext
from cloud_hub.errors import CatalogueError, HubAway, HubError
from cloud_hub.storage.database import Database
from cloud_hub.updates import catalogue, points, repository, signing
from cloud_hub.updates.desk import Desk
from cloud_hub.updates.publisher import (
    Outcome,
    PointOutcome,
    PointRequest,
    Request,
    has_external_data,
    publish,
    publish_point,
)
from cloud_hub.updates.repository import MODELS
from cloud_hub.web.app import make_app
from cloud_hub.web.server import WebServer
from edge_protocol import bundle
from edge_protocol.bundle import OperatingPoint
from edge_protocol.envelope import PrivateKey
from tests.cloud_hub.updates.test_catalogue import write_bundle
from tests.cloud_hub.updates.trusting import ACTOR, TrustedHub, new_key, rows_of

TOKEN = "owner-token-of-the-tests-0123456789"


class Town:
    """A hub that serves, and a publisher with a bundle."""

    def __init__(self, trusted: TrustedHub, url: str, folder: Path) -> None:
        self.trusted = trusted
        self.url = url
        self.folder = folder
        self.bundle = folder / "mine"
        write_bundle(self.bundle)
        self.desk = Desk.open(url, TOKEN)
        self.client = httpx.Client(base_url=url, headers={"authorization": f"Bearer {TOKEN}"}, timeout=60)

    def publish(self, folder: Path | None = None, *, key: PrivateKey | None = None, floor: str = "") -> Outcome:
        """Publish as alice."""
        asked = Request(folder or self.bundle, key or self.trusted.alice, floor, ACTOR.name, ACTOR.reason)
        return publish(self.desk, asked, self.trusted.clock.wall_us())

    def publish_point(self, version: str = "1.0.0", *, key: PrivateKey | None = None, **point: float) -> PointOutcome:
        """Publish thresholds for the release as alice."""
        made = OperatingPoint(**({"accept": 0.1, "reject": 0.2} | point))
        asked = PointRequest(
            "engine-fault", "1.0.0", "line-3", version, made, key or self.trusted.alice, ACTOR.name, ACTOR.reason
        )
        return publish_point(self.desk, asked, self.trusted.clock.wall_us())

    def edit(self, **fields: object) -> None:
        """Write another manifest over the bundle's."""
        path = self.bundle / bundle.MANIFEST
        path.write_bytes(msgspec.json.encode(msgspec.json.decode(path.read_bytes()) | fields))

    def replace(self, name: str, content: bytes) -> None:
        """Change a file, and the manifest with it."""
        (self.bundle / name).write_bytes(content)
        files = msgspec.json.decode((self.bundle / bundle.MANIFEST).read_bytes())["files"]
        files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "length": len(content)}
        self.edit(files=files)

    def state(self) -> tuple[object, ...]:
        """All that a publication could have changed."""
        stored = sorted(path.name for path in (self.folder / "objects").rglob("*"))
        with self.trusted.database.reading() as connection:
            return rows_of(connection), repository.files(connection, MODELS), stored


@pytest.fixture
def database(sqlite: Database) -> Database:
    """Rows have their laws on both engines in `test_releases`; here one is enough."""
    return sqlite


@pytest.fixture
def town(trusted: TrustedHub, clock: FixedClock, tmp_path: Path) -> Iterator[Town]:
    """A trusted hub that serves on a port of loopback."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "online.pem").write_bytes(keys.private_pem(trusted.online))
    (tmp_path / "objects").mkdir(exist_ok=True)
    server = WebServer(make_app(HubContext(trusted.database, clock, TOKEN, Config(tmp_path, Settings()))))
    server.start()
    town = Town(trusted, server.url, tmp_path)
    yield town
    town.desk.close()
    town.client.close()
    server.close()


def test_a_bundle_is_published_whole(town: Town) -> None:
    """
    Afterwards the hub has every file by digest, the release with its publisher, and a signature that holds.
    """
    outcome = town.publish(floor="1.0.0")

    assert (outcome.changed, outcome.publisher, outcome.uploaded, outcome.metadata_version) == (True, "alice", 4, 1)
    for path in town.bundle.iterdir():
        assert town.trusted.objects.get(hashlib.sha256(path.read_bytes()).hexdigest()) == path.read_bytes()
    with town.trusted.database.reading() as connection:
        release = catalogue.find(connection, "engine-fault", "1.0.0")
    assert release is not None
    assert (release.digest, release.publisher, release.floor) == (outcome.digest, "alice", "1.0.0")
    assert (release.actor, list((town.folder / "incoming").iterdir())) == (ACTOR.name, [])


def test_the_same_again_changes_nothing_and_says_so(town: Town) -> None:
    """
    A second publication sends no file, signs nothing, and is not an error.
    """
    first = town.publish()
    before = town.state()

    again = town.publish()

    assert again == msgspec.structs.replace(first, changed=False, uploaded=0, uploaded_bytes=0)
    assert town.state() == before


def test_only_what_the_hub_lacks_is_sent(town: Town) -> None:
    """
    A release that only moves a threshold sends its manifest; a file that the store has lost is sent again.
    """
    town.publish()
    write_bundle(town.folder / "next", "1.1.0", threshold=0.6)

    outcome = town.publish(town.folder / "next")

    assert (outcome.uploaded, outcome.metadata_version) == (1, 2)
    lost = hashlib.sha256((town.bundle / "model.onnx").read_bytes()).hexdigest()
    (town.folder / "objects" / lost[:2] / lost).unlink()
    assert (town.publish().uploaded, town.trusted.objects.has(lost)) == (1, True)


def test_an_old_signature_is_renewed(town: Town, clock: FixedClock) -> None:
    """
    With less than half of its time left the same publication is signed anew; nothing is sent.
    """
    town.publish()
    clock.advance(100 * 86_400)

    outcome = town.publish()

    assert (outcome.changed, outcome.uploaded, outcome.metadata_version) == (True, 0, 2)
    assert not town.publish().changed


def external_model(folder: Path) -> bytes:
    """A model as onnx itself writes it with its weights beside."""
    weights = numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    shape = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in ("x", "y")]
    model = helper.make_model(helper.make_graph([node], "g", shape[:1], shape[1:], [weights]))
    onnx.save(model, folder / "big.onnx", save_as_external_data=True, location="big.data", size_threshold=0)
    return (folder / "big.onnx").read_bytes()


def _missing(town: Town) -> None:
    (town.bundle / "model.onnx").unlink()


def _wrong(town: Town) -> None:
    (town.bundle / "card.md").write_bytes(b"# Another card")


def _unnamed(town: Town) -> None:
    (town.bundle / "notes.txt").write_bytes(b"x")


def _linked(town: Town) -> None:
    shutil.move(town.bundle / "card.md", town.folder / "card.md")
    (town.bundle / "card.md").symlink_to(town.folder / "card.md")


def _other_content(town: Town) -> None:
    town.publish()
    town.replace("card.md", b"# Another card")


def _put_here_by_hand(town: Town) -> None:
    write_bundle(town.folder / "other", threshold=0.9)
    with town.trusted.database.writing() as connection:
        catalogue.add(connection, town.trusted.objects, town.folder / "other", ACTOR, town.trusted.clock.wall_us())


DAMAGES: dict[str, tuple[Callable[[Town], object], str]] = {
    "a missing file": (_missing, "model.onnx"),
    "a wrong digest": (_wrong, "card.md is not the file"),
    "an unnamed file": (_unnamed, "notes.txt"),
    "a symbolic link": (_linked, "card.md"),
    "an unknown feature": (lambda town: town.edit(requires=["time-travel"]), "time-travel"),
    "a later schema": (lambda town: town.edit(schema=2), "schema"),
    "weights beside": (lambda town: town.replace("model.onnx", external_model(town.folder)), "another file"),
    "a broken reference": (lambda town: town.replace("reference.json", b"{}"), "reference"),
    "a name outside the key's paths": (lambda town: town.edit(name="surface-anomaly"), "may sign engine-"),
    "that version with another digest": (_other_content, "engine-fault 1.0.0 is at the hub"),
    "another of that version, put there by hand": (_put_here_by_hand, "engine-fault 1.0.0 is at the hub"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_may_not_be_published_is_refused_before_anything_is_sent(town: Town, damage: str) -> None:
    """
    Each names its cause and its cure, and the hub has not stored a byte of it.
    """
    make, cause = DAMAGES[damage]
    make(town)
    before = town.state()

    with pytest.raises(HubError, match=cause) as caught:
        town.publish()

    assert caught.value.hint
    assert town.state() == before


@pytest.mark.parametrize(
    ("floor", "cause"), [("1.0.1", "above"), ("newest", "not a version"), ("1.0", "not a version")]
)
def test_a_floor_that_would_forbid_the_release_itself(town: Town, floor: str, cause: str) -> None:
    """
    A floor above the version, or one that is none, is refused.
    """
    before = town.state()

    with pytest.raises(CatalogueError, match=cause) as caught:
        town.publish(floor=floor)

    assert caught.value.hint
    assert town.state() == before


def test_a_floor_comes_with_a_new_version(town: Town) -> None:
    """
    What was published without a floor does not get one later; the next version brings it.
    """
    town.publish()

    with pytest.raises(CatalogueError, match="no floor") as caught:
        town.publish(floor="1.0.0")

    assert "next version" in caught.value.hint


def test_a_key_of_nobody_publishes_nothing(town: Town) -> None:
    """
    A key that is not delegated to, or was revoked, is told so.
    """
    town.publish()
    town.trusted.revoke("alice")

    for key in (new_key(), town.trusted.alice):
        with pytest.raises(HubError, match="delegates nothing") as caught:
            town.publish(key=key)
        assert "keys delegate" in caught.value.hint


def test_a_hub_that_is_not_there_or_not_ours_is_named(town: Town) -> None:
    """
    No answer, a wrong token, or an answer that is none: the publisher is told what to check.
    """
    for desk in (Desk.open("http://127.0.0.1:9", TOKEN), Desk.open(town.url, "wrong")):
        with pytest.raises(HubAway) as caught:
            publish(desk, Request(town.bundle, town.trusted.alice), 1)
        assert caught.value.hint
        desk.close()


def test_uploads_are_what_their_name_says(town: Town) -> None:
    """
    Other bytes than the digest, or a name that is no digest, are not kept, and leave nothing behind.
    """
    before = town.state()

    for name in ("ab" * 32, "nonsense", hashlib.sha256(b"x").hexdigest().upper()):
        answer = town.client.put(f"/api/objects/{name}", content=b"x")
        assert (answer.status_code, bool(answer.json()["hint"])) == (400, True)

    assert town.state() == before
    assert list((town.folder / "incoming").iterdir()) == []


def test_no_request_is_larger_than_it_may_be(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A body is cut off at its limit, whatever it claims to be.
    """
    monkeypatch.setattr("cloud_hub.updates.releases.MAX_FILE_BYTES", 1000)
    monkeypatch.setattr("cloud_hub.updates.signing.MAX_METADATA_BYTES", 1000)
    content = bytes(2000)

    for path in (f"/api/objects/{hashlib.sha256(content).hexdigest()}", "/api/publishers/alice/metadata"):
        answer = town.client.put(path, content=content)
        assert (answer.status_code, "1000" in answer.json()["error"]) == (400, True)


def test_nothing_is_published_without_the_token(town: Town) -> None:
    """
    Every route of publishing is behind the door.
    """
    with httpx.Client(base_url=town.url) as stranger:
        for method, path in (
            ("GET", "/api/models/metadata"), ("GET", "/api/models/releases"), ("POST", "/api/objects/missing"),
            ("PUT", f"/api/objects/{'ab' * 32}"), ("PUT", "/api/publishers/alice/metadata"),
        ):  # fmt: skip
            assert stranger.request(method, path, content=b"[]").status_code == 401


def test_a_model_of_one_file_is_no_model_of_two(tmp_path: Path) -> None:
    """
    The mark is in what onnx writes with its weights beside, and not in the same model with them inside.
    """
    external_model(tmp_path)
    whole = onnx.load(tmp_path / "big.onnx")
    onnx.save(whole, tmp_path / "whole.onnx")

    assert has_external_data(tmp_path / "big.onnx")
    assert not has_external_data(tmp_path / "whole.onnx")


def test_the_key_never_leaves(town: Town) -> None:
    """
    Nothing that the hub has holds the publisher's private key.
    """
    town.publish()
    secret = keys.private_pem(town.trusted.alice).splitlines()[1]

    for path in town.folder.rglob("*"):
        if path.is_file():
            assert secret not in path.read_bytes()
    assert signing.key_name(town.trusted.alice.public_key()).encode() in town.trusted.files()["2.targets.json"]


def test_an_operating_point_is_published_beside_its_release(town: Town) -> None:
    """
    Signed with the releases, made for the digest at the hub; the same again changes nothing.
    """
    release = town.publish()
    outcome = town.publish_point()
    before = town.state()

    assert (outcome.changed, outcome.digest, outcome.publisher) == (True, release.digest, "alice")
    with town.trusted.database.reading() as connection:
        (found,) = points.releases(connection)
    assert (found.sha256, found.name, found.version) == (outcome.sha256, "line-3", "1.0.0")
    assert town.publish_point() == msgspec.structs.replace(outcome, changed=False)
    assert town.state() == before
    assert not town.publish().changed  # which is there still, with what was signed beside it


def test_an_operating_point_that_may_not_be_is_found_before_anything_is_sent(town: Town) -> None:
    """
    Without its release, with other thresholds in the same version, by another key, or against a rule: nothing changes.
    """
    with pytest.raises(CatalogueError, match="not at the hub"):
        town.publish_point()
    town.publish()
    town.publish_point()
    before = town.state()

    with pytest.raises(CatalogueError, match="something else"):
        town.publish_point(reject=0.3)
    with pytest.raises(CatalogueError, match="accept"):
        town.publish_point("1.0.1", accept=9.0)
    with pytest.raises(HubError, match="delegates nothing"):
        town.publish_point("1.0.1", key=new_key())
    assert town.state() == before
