"""What a supervisor asks: is the hub alive, is it ready, what has it counted. Health answers anyone, metrics do not."""

from collections.abc import Iterable

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import text

from cloud_hub.context import HubContext
from cloud_hub.errors import HubError
from cloud_hub.telemetry.views import GatewayView, fleet
from cloud_hub.web.api import Fault, to_json

PARTS = ("produced", "archived", "buffered", "declared", "lost")


def make_router(hub: HubContext) -> APIRouter:
    """The routes `/health/live`, `/health/ready` and `/metrics`."""
    router = APIRouter(include_in_schema=False)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Exposition(hub))

    @router.get("/health/live")
    def live() -> Response:
        return to_json({"status": "live"})

    @router.get("/health/ready")
    def ready() -> Response:
        try:
            with hub.database.reading() as connection:
                connection.execute(text("SELECT 1"))
        except HubError as error:
            return to_json(Fault(str(error), error.hint), 503)
        missing = hub.ready()
        return to_json(Fault(missing) if missing else {"status": "ready"}, 503 if missing else 200)

    @router.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router


class Exposition(Collector):
    """The hub's counters and the fleet's figures, read when they are asked for."""

    def __init__(self, hub: HubContext) -> None:
        self._hub = hub

    def collect(self) -> Iterable[Metric]:
        """All metrics as they are now."""
        counted = CounterMetricFamily("lineside_hub_events", "What this process counted, by name", labels=["event"])
        for name, value in sorted(self._hub.tally.values().items()):
            counted.add_metric([name], value)
        yield counted
        with self._hub.database.reading() as connection:
            gateways = fleet(connection, self._hub.clock.wall_us())
        yield from _of_gateways(gateways)


def _of_gateways(gateways: list[GatewayView]) -> Iterable[Metric]:
    verdicts = CounterMetricFamily("lineside_verdicts", "Archived verdicts", labels=["gateway", "pipeline", "verdict"])
    records = GaugeMetricFamily("lineside_records", "The account", labels=["gateway", "part"])
    balanced = GaugeMetricFamily("lineside_account_balanced", "1: nothing is lost", labels=["gateway"])
    online = GaugeMetricFamily("lineside_gateway_online", "1: it spoke lately", labels=["gateway"])
    seen = GaugeMetricFamily("lineside_gateway_last_seen_seconds", "When it last spoke, UTC", labels=["gateway"])
    alarms = GaugeMetricFamily("lineside_alarms_active", "Alarms that stand", labels=["gateway"])
    for each in gateways:
        for pipeline in each.pipelines:
            for name, n in pipeline.verdicts.items():
                verdicts.add_metric([each.id, pipeline.name, name], n)
        for part in PARTS:
            records.add_metric([each.id, part], getattr(each.account, part))
        balanced.add_metric([each.id], each.account.balanced)
        online.add_metric([each.id], each.online)
        seen.add_metric([each.id], each.last_seen_us / 1e6)
        alarms.add_metric([each.id], each.alarms)
    return verdicts, records, balanced, online, seen, alarms
