"""The hub's hands: sets retained in their order, objects in blocks to whoever asks, nobody before all others."""

import hashlib
from dataclasses import dataclass, field

import pytest

from cloud_hub.access.authority import Authority
from cloud_hub.context import Tally
from cloud_hub.storage.schema import bundle_files
from cloud_hub.updates import carrier as carriers
from cloud_hub.updates import director
from cloud_hub.updates.carrier import MAX_WANTS, REPEAT_S, Carrier
from cloud_hub.updates.repository import MODELS, director_of
from edge_protocol import messages, metadata, topics
from edge_protocol.loopback import LoopbackBroker, LoopbackLink
from edge_protocol.messages import BLOCK_BYTES, Block, Want
from tests.cloud_hub.updates.trusting import ACTOR, TrustedHub

BIG = bytes(range(256)) * (3 * BLOCK_BYTES // 256) + b"end"


@dataclass
class Listener:
    """A gateway's ear: all that is carried to it, in the order it came."""

    link: LoopbackLink
    heard: list[tuple[str, bytes]] = field(default_factory=list)

    def listen(self, *topic_filters: str) -> "Listener":
        """Subscribe and begin."""
        for topic_filter in topic_filters:
            self.link.subscribe(topic_filter)
        self.link.start(lambda topic, payload: self.heard.append((topic, payload)), lambda: None)
        return self

    def blocks(self) -> list[Block]:
        """The blocks that came."""
        return [messages.decode(Block, payload) for topic, payload in self.heard if topic.endswith("/block")]


@dataclass
class Scene:
    """A trusted hub with a carrier at a broker in memory; time passes when told to."""

    hub: TrustedHub
    broker: LoopbackBroker
    link: LoopbackLink
    carrier: Carrier
    held: set[str]
    time_s: list[float]

    def gateway(self, name: str, *topic_filters: str) -> Listener:
        """Somebody who listens as this gateway."""
        wanted = topic_filters or (topics.down_filter(name), topics.FLEET_MODELS)
        return Listener(self.broker.link(name, window=1000)).listen(*wanted)

    def work(self, after_s: float = 1.0) -> None:
        """Let time pass and the carrier carry all that there is."""
        self.time_s[0] += after_s
        while self.carrier.step():
            pass


@pytest.fixture
def scene(trusted: TrustedHub, authority: Authority) -> Scene:
    """Two gateways are enrolled and directed, one release is published."""
    broker, held, time_s = LoopbackBroker(), set(topics.SHARDS), [1000.0]
    link = broker.link("carrier", window=1000)
    carrier = Carrier(
        trusted.database, trusted.objects, link, Tally(), holds=lambda shard: shard in held, now_s=lambda: time_s[0]
    )
    link.start(lambda _topic, _payload: None, carrier.connected)
    trusted.publish("1.0.0")
    for name in ("press-1", "press-2"):
        trusted.enrol(name, authority)
        with trusted.database.writing() as connection:
            director.found(connection, trusted.online, name, trusted.clock.wall_us())
    return Scene(trusted, broker, link, carrier, held, time_s)


def sets_of(listener: Listener) -> list[str]:
    """The topics of the sets that came, shortened."""
    return [topic.rpartition("/")[2] for topic, _ in listener.heard if not topic.endswith("/block")]


def test_both_sets_are_there_for_whoever_comes(scene: Scene) -> None:
    """
    Retained, whole, the gateway's own and the publishers' one; a gateway that comes later gets the same bytes.
    """
    early = scene.gateway("press-1")
    scene.work()
    late = scene.gateway("press-1")

    assert sorted(early.heard) == sorted(late.heard)
    said = {topic: metadata.unpack(metadata.carried(payload).body) for topic, payload in early.heard}
    assert said == {
        topics.FLEET_MODELS: scene.hub.files(MODELS),
        topics.down("press-1", "desired"): scene.hub.files(director_of("press-1")),
    }


def test_models_go_before_directors(scene: Scene) -> None:
    """
    A gateway never hears of an assignment before the release: also not when the link takes only one set at a time.
    """
    gateway = scene.gateway("press-1")
    scene.work()
    gateway.heard.clear()
    release = scene.hub.publish("1.1.0").added[0]
    with scene.hub.database.writing() as connection:
        director.assign(
            connection, scene.hub.online, "press-1", {"a": release}, rollout="1", actor=ACTOR,
            now_us=scene.hub.clock.wall_us(),
        )  # fmt: skip
    scene.link.window = 0
    scene.work()
    assert gateway.heard == []

    scene.link.window = 1000
    scene.work()

    assert sets_of(gateway) == ["models", "desired"]


def test_nothing_is_repeated_but_in_its_time(scene: Scene) -> None:
    """
    Unchanged sets are sent once a minute, changed ones at once, all of them after a reconnection.
    """
    gateway = scene.gateway("press-1")
    scene.work()
    scene.work(REPEAT_S / 2)
    assert len(gateway.heard) == 2

    scene.work(REPEAT_S / 2)
    assert len(gateway.heard) == 4
    scene.hub.publish("1.1.0")
    scene.work()
    assert sets_of(gateway)[4:] == ["models"]

    scene.broker.restart()
    scene.work(0.0)
    assert len(gateway.heard) == 7


def test_only_the_holder_of_a_shard_directs(scene: Scene) -> None:
    """
    A replica sends the sets of its own gateways; one that takes a shard over sends at once.
    """
    gateway = scene.gateway("press-1")
    scene.held.discard(topics.shard_of("press-1"))
    scene.work()
    assert sets_of(gateway) == ["models"]

    scene.held.add(topics.shard_of("press-1"))
    scene.work()

    assert sets_of(gateway) == ["models", "desired"]


def test_an_object_comes_in_blocks(scene: Scene) -> None:
    """
    Put together, the blocks that were asked for are the object, from any offset, and each says how long it is.
    """
    digest = _add_file(scene, BIG)
    gateway = scene.gateway("press-1", topics.down("press-1", "block"))

    scene.carrier.want("press-1", Want(sha256=digest, offset=0, length=2 * BLOCK_BYTES))
    scene.carrier.want("press-1", Want(sha256=digest, offset=2 * BLOCK_BYTES, length=4 * BLOCK_BYTES))
    scene.work()

    blocks = gateway.blocks()
    assert b"".join(block.data for block in blocks) == BIG
    assert [block.offset for block in blocks] == [0, BLOCK_BYTES, 2 * BLOCK_BYTES, 3 * BLOCK_BYTES]
    assert {(block.sha256, block.total) for block in blocks} == {(digest, len(BIG))}


@pytest.mark.parametrize("what", ["nowhere", "in the store, of no release", "lost by the store", "beyond the end"])
def test_what_is_not_there_is_answered_too(scene: Scene, what: str) -> None:
    """
    A question is never left open, and only what belongs to a release is ever given out.
    """
    digest, offset, total = "ab" * 32, 0, 0
    if what == "in the store, of no release":
        digest = scene.hub.objects.put(b"somebody's capture")
    elif what == "lost by the store":
        digest = _add_file(scene, BIG)
        (scene.hub.folder / "objects" / digest[:2] / digest).unlink()
    elif what == "beyond the end":
        digest, offset, total = _add_file(scene, BIG), len(BIG) + 5, len(BIG)
    gateway = scene.gateway("press-1", topics.down("press-1", "block"))

    scene.carrier.want("press-1", Want(sha256=digest, offset=offset, length=10))
    scene.work()

    assert gateway.blocks() == [Block(sha256=digest, offset=offset, total=total)]


def test_gateways_take_turns(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whoever asks for much waits for those who ask for little; what one may ask for at once is bounded.
    """
    monkeypatch.setattr(carriers, "MAX_BLOCKS", 2)
    digest = _add_file(scene, BIG)
    greedy = scene.gateway("press-1", topics.down("press-1", "block"))
    modest = scene.gateway("press-2", topics.down("press-2", "block"))
    for offset in range(50):
        scene.carrier.want("press-1", Want(sha256=digest, offset=offset, length=3 * BLOCK_BYTES))
    scene.carrier.want("press-2", Want(sha256=digest, offset=0, length=100))

    scene.carrier.step()

    assert [len(block.data) for block in modest.blocks()] == [100]
    assert len(greedy.blocks()) == 1
    scene.work()
    assert len(greedy.blocks()) <= MAX_WANTS * 4


def test_a_full_link_loses_no_answer(scene: Scene) -> None:
    """
    What the link does not take waits; a question that is asked again while it waits is answered once.
    """
    digest = _add_file(scene, BIG)
    gateway = scene.gateway("press-1", topics.down("press-1", "block"))
    scene.work()
    scene.link.window = 0
    for _ in range(3):
        scene.carrier.want("press-1", Want(sha256=digest, offset=0, length=len(BIG)))
    scene.work()
    assert gateway.blocks() == []

    scene.link.window = 1000
    scene.work()

    assert b"".join(block.data for block in gateway.blocks()) == BIG


def test_a_large_set_is_an_object(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A set that does not fit into a message is named by digest, and comes in blocks like any object.
    """
    monkeypatch.setattr(metadata, "_INLINE_BYTES", 500)
    gateway = scene.gateway("press-1")
    scene.work()
    named = metadata.carried(next(payload for topic, payload in gateway.heard if topic == topics.FLEET_MODELS))
    assert named.sha256 is not None

    scene.carrier.want("press-1", Want(sha256=named.sha256, offset=0, length=named.length))
    scene.work()

    body = b"".join(block.data for block in gateway.blocks())
    assert (hashlib.sha256(body).hexdigest(), len(body)) == (named.sha256, named.length)
    assert metadata.unpack(body) == scene.hub.files(MODELS)


def _add_file(scene: Scene, content: bytes) -> str:
    """A file of a release: put as large as a test needs it."""
    digest = scene.hub.objects.put(content)
    with scene.hub.database.writing() as connection:
        row = {"bundle": "b", "name": "n", "tenant": "default", "sha256": digest, "length": len(content)}
        connection.execute(bundle_files.insert().values(row))
    return digest
