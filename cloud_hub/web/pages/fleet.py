"""The fleet: every gateway by site and line, what runs there, what it judges, and whether its account is whole."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

from cloud_hub.monitoring.views import AlarmView, alarms
from cloud_hub.telemetry.account import Account
from cloud_hub.telemetry.views import GatewayView, fleet, verdict_series
from cloud_hub.web.page import Page, Part, Reading

FRESH_S = 0.9
SPARK_S = 15 * 60
SPARK_BUCKET_S = 15


@dataclass(frozen=True, slots=True)
class Totals:
    """The account of several gateways as one: sums, and whether each of them is balanced by itself."""

    produced: int
    archived: int
    buffered: int
    declared: int
    lost: int
    balanced: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A gateway with its last quarter of an hour as one line, and its alarms."""

    gateway: GatewayView
    spark: tuple[int, ...]
    alarms: tuple[AlarmView, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """The gateways of one production line."""

    area: str
    name: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """The lines of one site."""

    enterprise: str
    name: str
    lines: tuple[Line, ...]

    @property
    def gateways(self) -> tuple[GatewayView, ...]:
        """All of them, line by line."""
        return tuple(row.gateway for line in self.lines for row in line.rows)


def every_gateway(reading: Reading) -> list[GatewayView]:
    """All gateways, asked for once a second however many parts of however many pages show them."""
    return reading.memo.get("fleet", FRESH_S, lambda: fleet(reading.connection, reading.now_us))


def totals(accounts: Iterable[Account]) -> Totals:
    """The sum of several accounts."""
    every = list(accounts)
    return Totals(
        produced=sum(each.produced for each in every),
        archived=sum(each.archived for each in every),
        buffered=sum(each.buffered for each in every),
        declared=sum(each.declared for each in every),
        lost=sum(each.lost for each in every),
        balanced=all(each.balanced for each in every),
    )


def summary(reading: Reading, _subject: str) -> Mapping[str, object]:
    """The whole fleet in a few figures."""
    gateways = every_gateway(reading)
    pipelines = [pipeline for each in gateways for pipeline in each.pipelines]
    verdicts: Counter[str] = Counter()
    for pipeline in pipelines:
        verdicts.update(pipeline.verdicts)
    return {
        "gateways": len(gateways),
        "online": sum(each.online for each in gateways),
        "rate": sum(pipeline.rate_per_min for pipeline in pipelines),
        "pipelines": len(pipelines),
        "ready": sum(pipeline.ready for each in gateways if each.online for pipeline in each.pipelines),
        "counts": dict(verdicts),
        "total": sum(verdicts.values()),
        "account": totals(each.account for each in gateways),
        "alarms": sum(each.alarms for each in gateways),
    }


def lines(reading: Reading, _subject: str) -> Mapping[str, object]:
    """Every gateway, grouped by site and line, and the alarms that stand."""
    active = alarms(reading.connection, active_only=True)
    rows = [_row(reading, each, active) for each in every_gateway(reading)]
    return {"sites": sites(rows), "alarms": active}


def sites(rows: Iterable[Row]) -> list[Site]:
    """The rows by site and line, each in the order of its name."""
    ordered = sorted(rows, key=lambda row: (_site(row), _line(row), row.gateway.id))
    return [
        Site(*site, tuple(Line(*line, tuple(members)) for line, members in groupby(there, key=_line)))
        for site, there in groupby(ordered, key=_site)
    ]


def _site(row: Row) -> tuple[str, str]:
    return row.gateway.place.enterprise, row.gateway.place.site


def _line(row: Row) -> tuple[str, str]:
    return row.gateway.place.area, row.gateway.place.line


def _row(reading: Reading, gateway: GatewayView, active: list[AlarmView]) -> Row:
    until_s = reading.now_us // 1_000_000 // SPARK_BUCKET_S * SPARK_BUCKET_S
    key = ("spark", gateway.id, until_s)
    spark = reading.memo.get(key, SPARK_BUCKET_S, lambda: _spark(reading, gateway.id, until_s))
    return Row(gateway, spark, tuple(alarm for alarm in active if alarm.gateway == gateway.id))


def _spark(reading: Reading, name: str, until_s: int) -> tuple[int, ...]:
    series = verdict_series(reading.connection, name, (until_s - SPARK_S) * 1_000_000, SPARK_BUCKET_S)
    judged = [sum(values) for values in zip(*(series[each] for each in series if each != "t"), strict=True)]
    known = dict(zip(series["t"], judged, strict=True))
    return tuple(known.get(at, 0) for at in range(until_s - SPARK_S, until_s, SPARK_BUCKET_S))


PAGE = Page(
    name="fleet",
    title="Fleet",
    path="/",
    icon="factory",
    template="fleet.html",
    parts={"summary": Part("fleet/summary.html", summary), "lines": Part("fleet/lines.html", lines)},
)
