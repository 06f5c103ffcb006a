"""`cloud-hub account`: produced = archived + buffered + declared. Exit code 1 where it does not balance."""

import sys
from pathlib import Path

import click

from cloud_hub.cli import place
from cloud_hub.cli.printing import as_json, show_json, show_rows, when
from cloud_hub.errors import ConfigError
from cloud_hub.telemetry.account import Account, accounts


@click.command(
    help="Produced = archived + buffered + declared. Every row is counted. Exit code 1 if it does not balance."
)
@click.argument("gateway", required=False)
@place.option
@as_json
def command(gateway: str | None, *, folder: Path, as_json: bool) -> None:
    """Show the account, of one gateway or of all."""
    with place.opened(place.load(folder)) as database, database.reading() as connection:
        found = [each for each in accounts(connection) if gateway in (None, each.gateway)]
    if gateway is not None and not found:
        message = f"no gateway {gateway} is enrolled"
        raise ConfigError(message, "cloud-hub fleet lists them")
    if as_json:
        show_json(found)
    else:
        show_rows([_row(each) for each in found], "no gateway is enrolled yet: cloud-hub enrol REQUEST")
    if not all(each.balanced for each in found):
        sys.exit(1)


def _row(account: Account) -> dict[str, object]:
    return {
        "gateway": account.gateway,
        "produced": account.produced,
        "= archived": account.archived,
        "+ buffered": account.buffered,
        "+ declared": account.declared,
        "lost": account.lost,
        "balanced": "yes" if account.balanced else "NO",
        "resent": account.resent,
        "doubled": account.doubled_verdicts,
        "as of": when(account.as_of_us),
    }
