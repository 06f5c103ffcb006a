"""The pages in the order of the navigation: one module each, with everything the page asks and shows."""

from cloud_hub.web.page import Page
from cloud_hub.web.pages import drift, fleet, gateway, models, rollouts, shell

PAGES: tuple[Page, ...] = (fleet.PAGE, gateway.PAGE, rollouts.LIST, rollouts.PAGE, models.PAGE, drift.PAGE)
FRAME = shell.FRAME
"""What stands on every page: not a page of its own, but its parts live like theirs."""
