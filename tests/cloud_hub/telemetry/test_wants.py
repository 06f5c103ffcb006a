"""Questions of gateways for bytes: handed on when they are signed, counted and dropped when they are not."""

from itertools import chain

from cryptography.hazmat.primitives.asymmetric import ed25519

from cloud_hub.telemetry.postbox import Postbox
from cloud_hub.telemetry.receiver import Receiver
from edge_protocol import envelope, messages, topics
from edge_protocol.envelope import PrivateKey
from edge_protocol.messages import Want
from tests.cloud_hub.conftest import Bench

WANT = Want(sha256="ab" * 32, offset=5, length=100)


def letter(name: str, body: bytes, key: PrivateKey, *, signed_for: str = "") -> tuple[str, bytes]:
    """Topic and message of a question."""
    topic = topics.up(name, "want")
    return topic, envelope.seal(signed_for or topic, body, key)


def test_only_what_a_gateway_signed_is_handed_on(bench: Bench) -> None:
    """
    The gateway of the topic, its key and a whole question: anything else is counted as what it is, and nobody hears.
    """
    heard: list[tuple[str, Want]] = []
    receiver = Receiver(
        bench.database, Postbox(bench.broker.link("other"), bench.key, bench.clock), bench.clock, bench.tally,
        holds=lambda _shard: True, on_want=lambda gateway, want: heard.append((gateway, want)),
    )  # fmt: skip
    one, other = bench.enrol("press-1"), bench.enrol("press-2")
    good = messages.encode(WANT)
    letters = {
        "signature": [
            letter("press-1", good, other),
            letter("press-1", good, ed25519.Ed25519PrivateKey.generate()),
            letter("press-1", good, one, signed_for=topics.up("press-1", "state")),
        ],
        "body": [
            letter("press-1", b"nothing", one),
            letter("press-1", messages.encode(messages.Link(online=True)), one),
            letter("press-1", good.replace(b"ab" * 32, b"zz" * 32), one),
        ],
        "envelope": [(topics.up("press-1", "want"), b"nothing")],
        "not-enrolled": [letter("press-9", good, one)],
    }
    for each in (*chain.from_iterable(letters.values()), letter("press-1", good, one)):
        receiver.on_message(*each)

    while receiver.step():
        pass

    assert heard == [("press-1", WANT)]
    counted = {kind: bench.tally.values()[f"messages_refused_{kind}"] for kind in letters}
    assert counted == {kind: len(each) for kind, each in letters.items()}
