"""The scenes of the day, each a function: it makes happen what was announced and proves what it says of it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.sources.scenes import TextureScene
from edge_protocol.statistics import PSI_DRIFT
from scripts.day import portrait
from scripts.day.account import Account
from scripts.day.gateways import LiveGateway
from scripts.day.site import Site
from scripts.day.summary import Drift, Row
from scripts.day.tape import Told

SHOWN_FIRST = ("NG", "REVIEW", "OK", "UNINSPECTED")
SHOWN_S = 6
SHOWN_EVERY_S = 1
CUT_S = 12
LIGHT = 0.8
ALARM_S = 240
PATIENCE_S = 60


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene, and what is said before it."""

    heading: str
    text: str
    play: Callable[[Site], None]


def at_work(site: Site) -> None:
    """Scene a: verdicts stream by, and one rejected part is looked at."""
    with site.narrator.waiting("the first verdicts"):
        site.children.until("a first verdict of each gateway", lambda: _have_begun(site), PATIENCE_S)
    deadline = time.monotonic() + SHOWN_S
    with site.narrator.waiting("the line runs"):
        while time.monotonic() < deadline:
            _show_some(site, site.rest(SHOWN_EVERY_S))
        live, n = site.children.until("a rejected part", lambda: _rejected(site), PATIENCE_S)
    _look_at(site, live, n)


def network_lost(site: Site) -> None:
    """Scene b: a gateway without network goes on, and afterwards the hub has everything."""
    live, narrator = site.gateways["press-2"], site.narrator
    before = len(live.tape.verdicts)
    site.cut(live.name)
    with narrator.waiting("press-2 works alone"):
        site.rest(CUT_S)
    alone = site.account(live)
    narrator.say(
        f"After {CUT_S} s without network it has judged {len(live.tape.verdicts) - before} more parts. Its account:"
    )
    narrator.account(alone)
    site.mend(live.name)
    began_s = time.monotonic()
    with narrator.waiting("press-2 drains"):
        drained = site.children.until("press-2 to drain", lambda: _drained(site, live, alone.produced), PATIENCE_S)
    narrator.say(f"The cable is back. {time.monotonic() - began_s:.1f} s later the hub has what was waiting:")
    narrator.account(drained)
    site.prove("nothing was lost", holds=alone.lost == 0 and drained.lost == 0 and alone.buffered > 0)


def killed(site: Site) -> None:
    """Scene c: a gateway is killed in mid-work; each part it was shown has one verdict, the one the line was told."""
    live, narrator = site.gateways["press-1"], site.narrator
    site.children.kill(live.name)
    live.tape.read()
    taken, told = live.triggers(), len(live.tape.verdicts)
    narrator.say(f"Killed after {taken:,} triggers; the line had been told {told:,} verdicts. Starting it again.")
    began_s = time.monotonic()
    live.start(site.children)
    with narrator.waiting("press-1 starts again"):
        site.children.until("press-1 to judge again", lambda: _went_on(live, taken), PATIENCE_S)
        took_s = time.monotonic() - began_s
        rows = site.children.until("its records", lambda: _rows_after(live, taken), PATIENCE_S)
    before = [row for row in rows if row.trigger <= taken]
    cut_short = sum(row.reason == "INTERRUPTED" for row in before)
    narrator.say(f"It judged again {took_s:.1f} s later. {_in_hand(cut_short)}")
    site.prove(
        f"{taken:,} triggers before the kill, {len(before):,} verdicts on record, each once",
        holds=len(before) == taken == len({row.trigger for row in before}),
    )
    account = site.account(live)
    narrator.account(account)
    site.prove("nothing was lost", holds=account.lost == 0)


def light_falls(site: Site) -> None:
    """Scene d: the light falls on one gateway; the hub raises one alarm, about that gateway alone."""
    live, narrator = site.gateways["press-2"], site.narrator
    live.dimmer.write_text(str(LIGHT))
    began_s, seen = time.monotonic(), _windows(site, live.name)
    with narrator.waiting("two windows of 500 parts that differ from the reference"):
        alarms: list[dict[str, Any]] = []
        while not alarms and time.monotonic() - began_s < ALARM_S:
            site.rest(1)
            alarms = site.hub.ask("/api/alarms")
            windows = _windows(site, live.name)
            for closed_us in sorted(windows.keys() - seen.keys()):
                narrator.say(f"A window of press-2 is full: {_indices(windows[closed_us])}.")
            seen = windows
    for alarm in alarms:
        narrator.say(f"Alarm after {time.monotonic() - began_s:.0f} s: {alarm['text']}", "bold yellow")
    _show_findings(site, live.name)
    site.prove("one alarm, on press-2", holds=[alarm["gateway"] for alarm in alarms] == [live.name])
    site.drift = [_drift(view) for view in site.hub.ask("/api/drift")]
    live.dimmer.write_text("1.0")
    quiet = {name: _windows(site, name) for name in site.gateways if name != live.name}
    highest = {name: max((max(each.values()) for each in found.values()), default=0.0) for name, found in quiet.items()}
    narrator.say(
        "The others stay quiet: " + ", ".join(f"{name} at most {psi:.2f}" for name, psi in highest.items()) + "."
    )


SCENES = (
    Scene(
        "Three gateways at work",
        "press-1 and press-2 look at surfaces, 20 a second each; pump-1 listens to an engine, 10 windows a second.",
        at_work,
    ),
    Scene(
        "The network of press-2 is cut",
        "It goes on judging and keeps its records on its disk. What the hub has signed for, and only that, may go.",
        network_lost,
    ),
    Scene(
        "press-1 is killed in mid-work",
        "kill -9, no last words. Each trigger stands in a memory-mapped ring before anything is done with it.",
        killed,
    ),
    Scene(
        "The light on press-2 falls by 20 %",
        "Too little for the guard, which looks for darkness. But each gateway counts what its model sees, on bin edges "
        "that came with the model: a population stability index (PSI) from 0.25 on in two windows running is an alarm.",
        light_falls,
    ),
)


def _have_begun(site: Site) -> bool | None:
    for live in site.gateways.values():
        live.read()
    return all(live.tape.verdicts for live in site.gateways.values()) or None


def _show_some(site: Site, told: dict[str, list[Told]]) -> None:
    """Show one verdict of each gateway, the worst of what was judged."""
    for name, new in told.items():
        if new:
            live = site.gateways[name]
            chosen = min(new, key=lambda each: (SHOWN_FIRST.index(each.verdict), each.trigger))
            site.narrator.verdict(name, chosen, live.gateway.describe(live.truth(chosen.trigger)))


def _rejected(site: Site) -> tuple[LiveGateway, int] | None:
    """A part of a press that was rejected for a defect that is there."""
    for live in site.gateways.values():
        live.read()
        if live.gateway.scene == "textures":
            for n, verdict in live.tape.verdicts.items():
                if verdict == "NG" and live.truth(n):
                    return live, n
    return None


def _look_at(site: Site, live: LiveGateway, n: int) -> None:
    gateway, narrator = live.gateway, site.narrator
    picture, defect = TextureScene(site.data["textures"], gateway.seed, "right", gateway.defect_share).draw(n)
    taken = portrait.take(site.bundles[gateway.model], picture, site.folder / "pictures", f"{live.name}-{n:06d}")
    narrator.pause()
    narrator.say(
        f"Part {n} of {live.name} was rejected: score {taken.score:.3f}. Its surface is a real photograph, "
        f"the {defect} on it is drawn. This is where the model saw it:"
    )
    narrator.lines(portrait.blocks(taken, narrator.console))
    for what, file in zip(("the part", "with its heatmap"), taken.files, strict=True):
        narrator.fact(what, file)


def _drained(site: Site, live: LiveGateway, produced: int) -> Account | None:
    """The account once the hub has what was made up to then."""
    account = site.account(live)
    return account if account.archived + account.declared >= produced else None


def _went_on(live: LiveGateway, taken: int) -> bool | None:
    live.tape.read()
    return max(live.tape.verdicts, default=0) > taken or None


def _rows_after(live: LiveGateway, taken: int) -> list[Row] | None:
    """What is on record, once something from after trigger `taken` is."""
    rows = live.rows()
    return rows if any(row.trigger > taken for row in rows) else None


def _windows(site: Site, name: str) -> dict[int, dict[str, float]]:
    """The index of each signal in each full window of a gateway, by the time it was closed."""
    found: dict[int, dict[str, float]] = {}
    for view in site.hub.ask("/api/drift", gateway=name):
        for closed_us, psi in view["history"]:
            found.setdefault(closed_us, {})[view["signal"]] = psi
    return found


def _drift(view: Mapping[str, Any]) -> Drift:
    finding = view["finding"]
    psi = round(finding.get("psi", 0.0), 4) if view["history"] else None
    return Drift(view["gateway"], view["pipeline"], view["signal"], finding["state"], psi)


def _show_findings(site: Site, name: str) -> None:
    findings = {view["signal"]: view["finding"] for view in site.hub.ask("/api/drift", gateway=name)}
    site.narrator.table(
        ("signal", "PSI", "chi²", "finding"),
        [
            (signal, found.get("psi", 0.0), found.get("chi2", 0.0), found["state"])
            for signal, found in sorted(findings.items(), key=lambda each: -each[1].get("psi", 0.0))
        ],
    )


def _indices(window: dict[str, float]) -> str:
    """The signals that drift, or the one that comes nearest."""
    ordered = sorted(window.items(), key=lambda each: -each[1])
    drifting = [f"{signal} {psi:.2f}" for signal, psi in ordered if psi >= PSI_DRIFT]
    return f"PSI {', '.join(drifting)}" if drifting else f"PSI at most {ordered[0][1]:.2f} ({ordered[0][0]})"


def _in_hand(n: int) -> str:
    if n == 0:
        return "The kill fell between two parts."
    return f"{n} {'part was' if n == 1 else 'parts were'} in its hands at the kill: UNINSPECTED, never OK."
