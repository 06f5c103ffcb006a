"""The scenes in which models come by network: one proves itself, one is careless, and four nobody should run."""

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from cloud_hub.cli import place
from cloud_hub.storage.database import put
from cloud_hub.storage.schema import assignments
from cloud_hub.updates import catalogue, ceremony, director
from edge_protocol import bundle
from edge_protocol.agreement import path_of
from scripts.day import releases, rollouts
from scripts.day.gateways import LiveGateway
from scripts.day.site import Site
from scripts.day.story import Scene
from scripts.day.summary import Update
from scripts.day.thief import Thief, by_a_stranger

MODEL = "surface-anomaly"
CANARY, NEXT = "press-1", "press-2"
PATIENCE_S = 40
LOOK_S = 1.0


def rolled_out(site: Site) -> None:
    """Scene e: a signed release reaches the canary, proves itself there, and then reaches the other press."""
    narrator = site.narrator
    _publish(site, "1.1.0", releases.good)
    with narrator.waiting("1.1.0 reaches the presses"):
        view = rollouts.follow(site, site.hub.roll_out(MODEL, "1.1.0", CANARY, NEXT))
    site.updates += rollouts.updates(view)
    site.prove("both are updated, and that was measured", holds=view["line"]["state"] == "finished")
    for name in (CANARY, NEXT):
        rows = site.gateways[name].rows()
        digests = [row.digest for row in rows if row.digest]  # a part that a kill cut short has none
        changes = sum(one != other for one, other in pairwise(digests))
        narrator.say(f"{name}: {len(rows):,} triggers in a row, {_times(changes)} between two of them.")
        site.prove(f"no trigger of {name} is missing or doubled", holds=_is_whole(rows))


def careless(site: Site) -> None:
    """Scene f: a bad release is stopped by the first machine that tries it."""
    _publish(site, "1.2.0", releases.careless, floor="1.1.0")
    with site.narrator.waiting("press-1 tries 1.2.0"):
        view = rollouts.follow(site, site.hub.roll_out(MODEL, "1.2.0", CANARY, NEXT))
    first, second = rollouts.updates(view)
    site.updates += (first, second)
    site.narrator.say(f"The rollout has {view['line']['state']}: {view['line']['reason']}.")
    site.prove(
        "the self-test names the stage, and press-2 never heard of it",
        holds=(first.outcome, second.outcome) == ("refused", "waiting") and "normalise" in first.reason,
    )
    site.prove("the line runs on 1.1.0", holds=_versions(site) == {"1.1.0"})


def refused(site: Site) -> None:
    """Scene g: whoever has the broker, the hub's disk and its online key still cannot have these run."""
    for attack in (_tampered_file, _strangers_release, _old_set, _below_the_floor):
        attack(site)
    site.prove("the line runs on 1.1.0 all the while", holds=_versions(site) == {"1.1.0"})


def _tampered_file(site: Site) -> None:
    folder = _publish(site, "1.3.0", releases.retrained)
    manifest, _ = bundle.load(folder)
    for variant in manifest.variants:
        digest = manifest.files[variant.file].sha256
        path = site.hub.folder / "objects" / digest[:2] / digest
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    site.narrator.say("Somebody changes one bit of a model on the hub's disk, and 1.3.0 is rolled out to press-1.")
    with site.narrator.waiting("press-1 fetches it"):
        view = rollouts.follow(site, site.hub.roll_out(MODEL, "1.3.0", CANARY))
    found = rollouts.updates(view)[0]
    _show(site, found, "Tampered")


def _strangers_release(site: Site) -> None:
    online = next((site.hub.folder / "keys").glob("online*.pem"))
    site.narrator.say(
        "A thief has the broker and the hub's online key, but no publisher's: release 9.9.9 in a set of his own making."
    )
    with Thief(site.hub.broker) as thief:
        real = thief.overhear()
        _attack(site, "9.9.9", "NotTrusted", lambda: thief.send(by_a_stranger(real, online, path_of(MODEL, "9.9.9"))))
        thief.send(real)


def _old_set(site: Site) -> None:
    site.narrator.say("He plays back the publishers' set of this morning, in which 1.0.0 was the latest.")
    with Thief(site.hub.broker) as thief:
        real = thief.overhear()
        _attack(site, "1.0.0", "Stale", lambda: thief.send(site.morning))
        thief.send(real)


def _below_the_floor(site: Site) -> None:
    site.narrator.say("He signs with the online key that press-1 shall run 1.0.0, which the publisher has since ended.")
    _attack(site, "1.0.0", "BelowFloor", lambda: _direct(site, "1.0.0"))
    _direct(site, "1.1.0")


def _direct(site: Site, version: str) -> None:
    """Have the director name a version, past all that the hub itself would say against it."""
    settings, doer = place.load(site.hub.folder), place.actor("thief", "the demonstration")
    with place.opened(settings) as database, database.writing() as connection:
        signer = ceremony.need_online_key(connection, settings.folder)
        release = catalogue.find(connection, MODEL, version)
        assert release is not None  # noqa: S101 (this day has published it)
        now_us = time.time_ns() // 1000
        named = {"digest": release.digest, "name": MODEL, "version": version, "rollout": "", "at_us": now_us}
        row = {"gateway": CANARY, "pipeline": site.gateways[CANARY].gateway.pipeline, "tenant": doer.tenant}
        put(connection, assignments, row | named)
        director.sign(connection, signer, CANARY, now_us)


def _attack(site: Site, version: str, name: str, act: Callable[[], None]) -> None:
    """Do it, and wait until the gateway says what it thinks of it."""
    live = site.gateways[CANARY]
    known = len(_refusals(live))
    act()
    deadline = time.monotonic() + PATIENCE_S
    with site.narrator.waiting(f"press-1 to refuse it as {name}"):
        while len(found := _refusals(live)) == known and time.monotonic() < deadline:
            site.rest(LOOK_S)
    last = found[-1] if len(found) > known else {"refusal": "nothing", "detail": "it said nothing"}
    update = Update(MODEL, version, CANARY, "refused", f"{last['refusal']}: {last['detail']}")
    _show(site, update, name)


def _show(site: Site, update: Update, name: str) -> None:
    site.updates.append(update)
    site.narrator.say(f"{update.gateway}: {update.reason}", "yellow")
    site.prove(f"refused as {name}", holds=update.outcome == "refused" and update.reason.startswith(name))


def _refusals(live: LiveGateway) -> list[dict[str, Any]]:
    """What the gateway has refused so far, the latest last."""
    return [step for step in reversed(live.history()) if step["refusal"]]


def _publish(site: Site, version: str, make: Callable[[Path, Path], Path], *, floor: str = "") -> Path:
    folder = make(site.bundles[MODEL], site.desk.releases / version)
    site.desk.publish(folder, floor=floor)
    return folder


def _versions(site: Site) -> set[str]:
    """What the presses run, by the evidence of their last verdicts."""
    return {site.gateways[name].latest_version() for name in (CANARY, NEXT)}


def _is_whole(rows: list[Any]) -> bool:
    return [row.trigger for row in rows] == list(range(1, len(rows) + 1))


def _times(changes: int) -> str:
    return "the model changed once" if changes == 1 else f"the model changed {changes} times"


SCENES = (
    Scene(
        "A new model is rolled out",
        "surface-anomaly 1.1.0 moves a threshold. Its publisher signs it with a key that the hub does not have. "
        "press-1 gets it first. A gateway counts as updated when verdicts that it signed carry the new digest.",
        rolled_out,
    ),
    Scene(
        "A careless release",
        "In 1.2.0 somebody changed the normalisation. It is properly signed; what stops it are the golden samples that "
        "every model brings along and every gateway tries beside the line, before a part is judged.",
        careless,
    ),
    Scene(
        "Four that nobody should run",
        "A changed file, a stranger's signature, old metadata, a version that was ended: each has its own name.",
        refused,
    ),
)
