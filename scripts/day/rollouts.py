"""Rollouts as the day follows them: what the hub says of each member comes in, a line for each change goes out."""

import time
from collections.abc import Mapping
from typing import Any

from scripts.day.children import DayError
from scripts.day.site import Site
from scripts.day.summary import Update

PATIENCE_S = 90
LOOK_S = 0.5
ENDED = ("finished", "failed", "stopped", "paused")

OUTCOMES = {"updated": "updated", "reverted": "rolled_back", "pending": "waiting", "assigned": "waiting"}
"""A member's state in the summary's words; one that has failed refused the release or gave it back."""


def follow(site: Site, number: int) -> dict[str, Any]:
    """Tell each change of a rollout until it has ended; what it is then.

    Raises:
        DayError: it does not end.
    """
    told: dict[str, str] = {}
    deadline = time.monotonic() + PATIENCE_S
    while True:
        view: dict[str, Any] = site.hub.ask(f"/api/rollouts/{number}")
        for member in members(view):
            if told.get(member["gateway"], "pending") != member["state"]:
                _tell(site, member)
            told[member["gateway"]] = member["state"]
        if view["line"]["state"] in ENDED:
            return view
        if time.monotonic() > deadline:
            message = f"rollout {number} is still {view['line']['state']} after {PATIENCE_S} s: {told}"
            raise DayError(message, f"cloud-hub rollout explain {number} --hub {site.hub.folder}")
        site.rest(LOOK_S)


def members(view: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All members of a rollout, wave by wave."""
    return [member for wave in view["waves"] for member in wave["members"]]


def updates(view: Mapping[str, Any]) -> list[Update]:
    """How the release fared on each gateway."""
    line = view["line"]
    return [
        Update(line["bundle"], line["version"], each["gateway"], _outcome(each), each["reason"] or line["reason"])
        for each in members(view)
    ]


def _tell(site: Site, member: Mapping[str, Any]) -> None:
    seen = sum(member["evidence"]["verdicts"].values())
    words = {
        "assigned": f"wave {member['wave'] + 1}: {member['gateway']} is to run it",
        "updated": f"{member['gateway']} is updated: {seen} verdicts that it signed carry the new digest",
    }
    site.narrator.say(words.get(member["state"], f"{member['gateway']}: {member['state']}, {member['reason']}"))


def _outcome(member: Mapping[str, Any]) -> str:
    if member["state"] == "failed":
        return "rolled_back" if member["evidence"]["step"] == "returned" else "refused"
    return OUTCOMES.get(member["state"], "waiting")
