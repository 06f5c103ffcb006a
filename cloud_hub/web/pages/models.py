"""Models: the catalogue by name and version, who signed each release, what it is made of, and where it runs."""

from collections.abc import Mapping

from cloud_hub.storage.objects import Objects
from cloud_hub.updates import expiry, views
from cloud_hub.updates.catalogue import Release
from cloud_hub.updates.expiry import Warned
from cloud_hub.updates.views import Facts
from cloud_hub.web.page import Page, Part, Reading

FRESH_S = 3600
"""What a manifest says never changes; a store that had lost it may be repaired."""

LOST_S = 5
DATES_S = 60


def catalogue(reading: Reading, _subject: str) -> Mapping[str, object]:
    """Every release of every name, and which signatures end soon."""
    objects = Objects.open(reading.hub.config.objects)

    def facts_of(release: Release) -> Facts:
        found = reading.memo.get(("facts", release.digest), FRESH_S, lambda: views.facts(objects, release))
        if found.problem:
            return reading.memo.get(("lost", release.digest), LOST_S, lambda: views.facts(objects, release))
        return found

    return {"models": views.models(reading.connection, facts_of), "expiring": _expiring(reading)}


def _expiring(reading: Reading) -> list[Warned]:
    days = reading.hub.config.settings.keys.warn_days
    now_us = reading.now_us
    return reading.memo.get("expiring", DATES_S, lambda: expiry.warnings(reading.connection, now_us, days))


PAGE = Page(
    name="models",
    title="Models",
    path="/models",
    icon="package",
    template="models.html",
    parts={"catalogue": Part("models/catalogue.html", catalogue)},
)
