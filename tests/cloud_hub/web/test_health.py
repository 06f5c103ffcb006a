"""A supervisor is told the truth without a token; figures need one."""

import dataclasses
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from cloud_hub.context import HubContext
from cloud_hub.web.app import make_app
from cloud_hub.web.server import WebServer
from tests.cloud_hub.web.factory_floor import Floor, a_day


def test_a_hub_is_alive_and_ready(visitor: httpx.Client) -> None:
    """Both questions are answered to anyone, and nothing else is told with it."""
    assert visitor.get("/health/live").json() == {"status": "live"}
    assert visitor.get("/health/ready").json() == {"status": "ready"}


def test_a_hub_that_lacks_a_part_says_which(hub: HubContext) -> None:
    """A hub whose broker or receiver does not work is not ready, and names what is missing."""
    lame = dataclasses.replace(hub, ready=lambda: "the broker does not answer")
    web = WebServer(make_app(lame))
    web.start()

    answer = httpx.get(f"{web.url}/health/ready", timeout=60)
    web.close()

    assert answer.status_code == 503
    assert answer.json()["error"] == "the broker does not answer"


def test_a_hub_without_its_database_is_alive_and_not_ready(
    hub: HubContext, visitor: httpx.Client, tmp_path: Path
) -> None:
    """A hub that cannot read its database says so and does not claim to be dead."""
    hub.database.close()
    for file in tmp_path.glob("hub.db*"):
        file.write_bytes(b"this is no database " * 500)

    ready = visitor.get("/health/ready")

    assert ready.status_code == 503
    assert "database" in ready.json()["error"]
    assert visitor.get("/health/live").status_code == 200


def test_metrics_say_what_the_pages_say(hub: HubContext, owner: httpx.Client, floor: Floor) -> None:
    """Counters of the process and the account of each gateway, in the form that Prometheus reads."""
    a_day(floor)
    hub.tally.add("batches", 3)

    text = owner.get("/metrics").text

    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["lineside_hub_events_total", "batches"] == 3
    assert samples["lineside_records", "press-2", "buffered"] == 412
    assert samples["lineside_records", "press-2", "lost"] == 0
    assert samples["lineside_account_balanced", "press-2"] == 1
    assert samples["lineside_gateway_online", "oven-3"] == 0
    assert samples["lineside_alarms_active", "press-2"] == 1
    assert samples["lineside_verdicts_total", "press-2", "surface", "UNINSPECTED"] == 2
