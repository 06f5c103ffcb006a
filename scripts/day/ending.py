"""The end of the day: the gateways stop in order, the books are compared with each other, the summary is drawn up."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from scripts.day.account import Account
from scripts.day.gateways import LiveGateway
from scripts.day.plant import YARD
from scripts.day.site import Site
from scripts.day.summary import GatewaySummary, Row, Summary, pipeline_of, records_of
from scripts.day.truth import Quality, quality

STOP_S = 25

WHY = {"OVERLOAD": "because this machine was too busy", "INTERRUPTED": "because of the kill"}
"""The reasons a day is expected to have, in words."""


def end(site: Site, *, keep: bool) -> Summary:
    """Stop the gateways unless they are to be kept running, prove what must hold, and sum up."""
    narrator, lives = site.narrator, list(site.gateways.values())
    if not keep:
        with narrator.waiting("the gateways judge what they have, send what they have, and stop"):
            codes = site.children.stop(*site.gateways, timeout_s=STOP_S)
        site.prove("all gateways ended in order", holds=all(code == 0 for code in codes.values()))
    with narrator.waiting("comparing the books"):
        accounts = {live.name: site.account(live) for live in lives}
        rows = {live.name: live.rows() for live in lives}
        triggers = {live.name: _triggers(live, rows[live.name], keep=keep) for live in lives}
        books = site.hub.books()
        for live in lives:
            live.tape.read()
    total = sum(accounts.values(), Account())
    site.prove("each trigger has one verdict", holds=all(_is_once(rows[name], n) for name, n in triggers.items()))
    if reasons := Counter(row.reason for each in rows.values() for row in each if row.verdict == "UNINSPECTED"):
        told = (f"{n} {WHY.get(reason, reason)}" for reason, n in reasons.most_common())
        narrator.say(f"Not inspected, and never taken for OK: {', '.join(told)}.")
    site.prove(
        "the record says of each part what the line was told",
        holds=all(_agrees(live, rows[live.name]) for live in lives),
    )
    narrator.account(total)
    site.prove("the account of all gateways is exact", holds=total.lost == 0 and (keep or total.buffered == 0))
    site.prove("the hub finds the same, and no row twice", holds=all(map(_is_sound, books.values())))
    return Summary(
        gateways=tuple(
            GatewaySummary(live.name, (pipeline_of(live.gateway.pipeline, rows[live.name], triggers[live.name]),))
            for live in lives
        ),
        records=records_of(total, sum(book["doubled_verdicts"] for book in books.values())),
        updates=tuple(site.updates),
        drift=tuple(site.drift),
        quality={
            f"{live.name}/{live.gateway.pipeline}": _quality(live, rows[live.name])
            for live in lives
            if live.gateway.scene != YARD.scene  # nobody knows the truth about its frames
        },
        duration_s=round(narrator.elapsed_s, 1),
    )


def show(site: Site, summary: Summary) -> None:
    """The summary as two tables."""
    pipelines = [(gateway.name, pipeline) for gateway in summary.gateways for pipeline in gateway.pipelines]
    site.narrator.table(
        ("gateway", "model", "triggers", "OK", "NG", "REVIEW", "UNINSPECTED", "p50 ms", "p99 ms"),
        [
            (name, each.model, each.triggers, *each.verdicts.values(), each.p50_ms, each.p99_ms)
            for name, each in pipelines
        ],
    )
    site.narrator.pause()
    site.narrator.table(
        ("gateway", "defects", "caught", "escaped", "in review", "good parts", "overkill", "in review"),
        [
            (name.partition("/")[0], each.defects, each.caught, each.escaped, each.defects_in_review,
             each.parts - each.defects, each.overkill, each.good_in_review)
            for name, each in summary.quality.items()
        ],
    )  # fmt: skip


def _triggers(live: LiveGateway, rows: list[Row], *, keep: bool) -> int:
    """What the ring has counted; of a gateway that goes on, what is on record so far."""
    return max((row.trigger for row in rows), default=0) if keep else live.triggers()


def _is_once(rows: list[Row], triggers: int) -> bool:
    return sorted(row.trigger for row in rows) == list(range(1, triggers + 1))


def _agrees(live: LiveGateway, rows: list[Row]) -> bool:
    recorded = {row.trigger: row.verdict for row in rows}
    return all(recorded.get(n, verdict) == verdict for n, verdict in live.tape.verdicts.items())


def _is_sound(book: Mapping[str, Any]) -> bool:
    return bool(book["balanced"]) and book["lost"] == 0 and book["doubled_verdicts"] == 0


def _quality(live: LiveGateway, rows: list[Row]) -> Quality:
    return quality({row.trigger: row.verdict for row in rows}, live.truth)
