"""A release that moves a threshold, from the publisher's hand to its first verdict, on a site of real processes.

Measured at the gateway: the time until the line hears of the new version, the bytes that came down to it, its memory
while two models of one pipeline are loaded, and the self-test by itself.
"""

import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep

from edge_agent.updates.proof import Proof
from edge_protocol import bundle, topics
from edge_protocol.mqtt import MqttLink
from scripts.benches.failure import BenchError
from scripts.benches.ground import gateway as ground
from scripts.benches.ground import supplies
from scripts.benches.ground.gateway import Gateway
from scripts.benches.ground.supplies import say
from scripts.day import releases
from scripts.day.children import Children, DayError
from scripts.day.desk import Desk
from scripts.day.hub import Hub
from scripts.day.interrupts import Interrupts

VERSION = "1.1.0"
SELF_TESTS = 5
PROBATION_S = 15
SETTLE_S = 10.0
PATIENCE_S = 90.0
LOOK_S = 0.02

_UPDATES = f"\n[updates]\nprobation_s = {PROBATION_S}\n"


def measure(folder: Path) -> dict[str, float]:
    """The figures of one release.

    Raises:
        BenchError: the hub or the gateway does not do its part.
    """
    folder.mkdir(parents=True)
    children = Children(folder / "logs", Interrupts())
    hub = Hub(folder / "hub", children)
    desk = Desk(folder / "publisher", hub.folder)
    try:
        hub.make()
        desk.make_keys(supplies.SURFACE, supplies.ENGINE)
        hub.start()
        hub.wait()
        for name in (supplies.SURFACE, supplies.ENGINE):
            desk.publish(supplies.BUNDLES / name)
        gateway = Gateway(folder / "gateway", hub.broker, more=_UPDATES, enrol=lambda into: _enrol(hub, into))
        try:
            gateway.start()
            return {**_release(gateway, hub, desk), "self_test_s": _self_test_s()}
        finally:
            gateway.stop()
    except DayError as error:
        raise BenchError(str(error), error.hint) from error
    finally:
        children.stop_all(("hub",))


def _release(gateway: Gateway, hub: Hub, desk: Desk) -> dict[str, float]:
    source = supplies.BUNDLES / supplies.SURFACE
    made = releases.good(source, desk.releases / VERSION)
    with _parts(gateway), _Ear(hub.broker) as ear:
        sleep(SETTLE_S)
        before_mb = gateway.rss_mb()
        ear.begin()
        began_s = perf_counter()
        desk.publish(made)
        hub.roll_out(supplies.SURFACE, VERSION, ground.ID)
        while not gateway.has_told(f'"version":"{VERSION}"'):
            if perf_counter() > began_s + PATIENCE_S:
                message = f"no verdict of {VERSION} within {PATIENCE_S:.0f} s"
                raise BenchError(message, "see whether edge-agent update history names a reason")
            sleep(LOOK_S)
        took_s, came = perf_counter() - began_s, ear.heard
        highest_mb = max(gateway.rss_mb() for _ in _looks(PROBATION_S))
    needed = _needed_bytes(source)
    say(f"{came:,} bytes came down for the release, {needed:,} are its files here")
    say(f"resident {before_mb:.0f} MB before, at most {highest_mb:.0f} in probation")
    return {
        "publish_to_first_verdict_s": took_s,
        "bytes_threshold_release_share": came / needed,
        "rss_mb_probation": highest_mb,
    }


def _enrol(hub: Hub, into: Path) -> None:
    from edge_agent import identity

    identity.new(into, ground.ID)
    hub.enrol(into / "request.csr", "bench", into)


def _needed_bytes(folder: Path) -> int:
    manifest, variant = supplies.chosen_variant(folder.name)
    names = bundle.needed(manifest, variant)
    return sum(manifest.files[name].length for name in names) + (folder / bundle.MANIFEST).stat().st_size


def _self_test_s() -> float:
    folder = supplies.BUNDLES / supplies.SURFACE
    manifest, variant = supplies.chosen_variant(supplies.SURFACE)
    found = []
    for _ in range(SELF_TESTS):
        with TemporaryDirectory(dir=supplies.WORK) as work:
            start_s = perf_counter()
            proof = Proof(folder, manifest, variant=variant, cache=Path(work) / "cache", deadline_s=PATIENCE_S)
            while not proof.poll():
                sleep(LOOK_S)
            found.append(perf_counter() - start_s)
            if proof.problem is not None:
                raise BenchError(proof.problem.detail, "build the models again: scripts/build_models")
    say(f"self-test in {min(found):.2f} to {max(found):.2f} s, {proof.report.rss_mb:.0f} MB in the child")
    return statistics.median(found)


def _looks(seconds: float) -> Iterator[float]:
    end_s = perf_counter() + seconds
    while (now_s := perf_counter()) < end_s:
        yield now_s
        sleep(0.1)


@contextmanager
def _parts(gateway: Gateway) -> Iterator[None]:
    """Pictures and windows come, as fast as the goals say, until the end of the block."""
    done = threading.Event()

    def feed() -> None:
        while not done.is_set():
            gateway.feed(1.0)

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class _Ear:
    """Counts the bytes of all messages that the broker carries down to the gateway."""

    def __init__(self, port: int) -> None:
        self.heard = 0
        self._link = MqttLink(f"mqtt://127.0.0.1:{port}", "bench-ear")

    def begin(self) -> None:
        """Count from here on: what is retained was told when we came."""
        self.heard = 0

    def __enter__(self) -> "_Ear":  # noqa: PYI034 (private)
        for topic in (topics.FLEET_MODELS, *(topics.down(ground.ID, name) for name in ("desired", "block"))):
            self._link.subscribe(topic)
        self._link.start(self._hear, lambda: None)
        return self

    def __exit__(self, *_error: object) -> None:
        self._link.close()

    def _hear(self, topic: str, payload: bytes) -> None:
        self.heard += len(topic) + len(payload)
