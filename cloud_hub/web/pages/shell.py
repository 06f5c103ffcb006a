"""What every page carries in its head: whether the account is whole and how many alarms stand."""

from collections.abc import Mapping

from cloud_hub.monitoring.views import alarms
from cloud_hub.web.page import Page, Part, Reading
from cloud_hub.web.pages.fleet import every_gateway, totals


def status(reading: Reading, _subject: str) -> Mapping[str, object]:
    """The account of the whole fleet and the number of alarms that stand."""
    every = every_gateway(reading)
    return {
        "known": bool(every),
        "account": totals(each.account for each in every),
        "alarms": len(alarms(reading.connection, active_only=True)),
    }


FRAME = Page(
    name="shell",
    title="",
    path="",
    icon="",
    template="layout.html",
    parts={"status": Part("shell/status.html", status)},
    in_navigation=False,
)
