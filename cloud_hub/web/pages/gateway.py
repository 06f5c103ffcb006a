"""One gateway: who and where it is, what runs there, its verdicts through time, its account stream by stream."""

import json
from collections.abc import Mapping

from cloud_hub.monitoring.views import alarms
from cloud_hub.telemetry.views import recent_events, recent_verdicts, verdict_series
from cloud_hub.web.page import NotHere, Page, Part, Reading

SPANS = {"15min": (15 * 60, 15), "2h": (2 * 3600, 60), "24h": (24 * 3600, 600)}
"""How far back a chart looks and how wide one of its steps is, in seconds."""

LATE_S = 60
"""What arrives late, after a network was cut, shows on every chart within this time."""

RECENT = 40


def identity(reading: Reading, name: str) -> Mapping[str, object]:
    """Who it is, where it stands, whether it answers, and its alarms."""
    mine = [alarm for alarm in alarms(reading.connection, active_only=True) if alarm.gateway == name]
    return {"gateway": reading.gateway(name), "alarms": mine}


def one(reading: Reading, name: str) -> Mapping[str, object]:
    """The gateway alone."""
    return {"gateway": reading.gateway(name)}


def chart(reading: Reading, subject: str) -> Mapping[str, object]:
    """Verdicts a minute; the subject is `<gateway>/<span>`. The step that is still filling is left out."""
    name, _, span = subject.partition("/")
    if span not in SPANS:
        message = f"a chart has no span {span!r}"
        raise NotHere(message)
    view = reading.gateway(name)
    length_s, step_s = SPANS[span]
    until_s = reading.now_us // 1_000_000 // step_s * step_s
    since_us = (until_s - length_s) * 1_000_000
    counted = reading.memo.get(
        ("chart", subject, until_s),
        min(step_s, LATE_S),
        lambda: verdict_series(reading.connection, name, since_us, step_s),
    )
    series = per_minute(counted, range(until_s - length_s, until_s, step_s), step_s)
    return {"gateway": view, "span": span, "spans": tuple(SPANS), "series": json.dumps(series), "rows": _table(series)}


def per_minute(series: Mapping[str, list[int]], times: range, step_s: int) -> dict[str, list[float]]:
    """The series on all of `times`, zero where nothing was judged, as rates per minute."""
    result: dict[str, list[float]] = {"t": [float(at) for at in times]}
    for name, values in series.items():
        if name != "t":
            known = dict(zip(series["t"], values, strict=True))
            result[name] = [round(known.get(at, 0) * 60 / step_s, 2) for at in times]
    return result


def latest(reading: Reading, name: str) -> Mapping[str, object]:
    """The verdicts that arrived last."""
    return {"gateway": reading.gateway(name), "shown": recent_verdicts(reading.connection, name, RECENT)}


def events(reading: Reading, name: str) -> Mapping[str, object]:
    """What it reported of itself, and what the hub had to refuse."""
    return {"gateway": reading.gateway(name), "events": recent_events(reading.connection, name, RECENT)}


def _table(series: Mapping[str, list[float]]) -> list[tuple[float, ...]]:
    """The last steps of a series as rows, the newest first: the chart for who cannot see it."""
    columns = [series[name] for name in series]
    return list(zip(*columns, strict=True))[:-11:-1]


PAGE = Page(
    name="gateway",
    title="Gateway",
    path="/gateways/{subject}",
    icon="cpu",
    template="gateway.html",
    parts={
        "identity": Part("gateway/identity.html", identity),
        "pipelines": Part("gateway/pipelines.html", one),
        "account": Part("gateway/account.html", one),
        "chart": Part("gateway/chart.html", chart),
        "verdicts": Part("gateway/verdicts.html", latest),
        "events": Part("gateway/events.html", events),
    },
    choices={"span": tuple(SPANS)},
    in_navigation=False,
)
