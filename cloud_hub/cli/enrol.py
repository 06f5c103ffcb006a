"""`cloud-hub enrol CSR`: a gateway's request is signed; what it needs of the hub goes into a folder."""

import json
from collections.abc import Mapping
from pathlib import Path

import click

from cloud_hub.access import enrolment, keys
from cloud_hub.access.enrolment import Enrolled
from cloud_hub.access.founding import HUB_KEY, load_authority
from cloud_hub.cli import place
from cloud_hub.cli.printing import as_json, show_json
from cloud_hub.clock import SystemClock
from cloud_hub.config import Config
from cloud_hub.errors import ConfigError
from cloud_hub.storage import files, ports
from cloud_hub.updates import ceremony, director
from edge_protocol.messages import Place

CERTIFICATE, HUB_KEYS, ROOTS, AGENT = "certificate.pem", "hub-keys.json", "roots.pem", "agent.toml"


@click.command(help="Sign the certificate request that `edge-agent identity new` made on a gateway.")
@click.argument("request", type=click.Path(path_type=Path))
@click.option("--site", default="", help="Site where it stands.")
@click.option("--line", default="", help="Line where it stands.")
@click.option("--area", default="", help="Area of the site.")
@click.option("--cell", default="", help="Cell of the line.")
@click.option("--enterprise", default="", help="Enterprise.")
@click.option("--timezone", default="UTC", show_default=True, help="IANA name of the time zone there.")
@click.option("--label", "labels", multiple=True, help="A label as name=value; may be repeated.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the files; the gateway's name by default.")
@click.option("--replace", is_flag=True, help="The gateway is known and has a new key: revoke the old one.")
@place.option
@place.actor_options
@as_json
def command(
    request: Path,
    *,
    labels: tuple[str, ...],
    out: Path | None,
    replace: bool,
    folder: Path,
    actor: str | None,
    reason: str,
    as_json: bool,
    **where: str,
) -> None:
    """Enrol the gateway and write certificate, configuration, the hub's keys and the authority's root."""
    settings = place.load(folder)
    stands = Place(tenant=settings.settings.hub.tenant, labels=dict(map(_label, labels)), **where)
    asked = enrolment.read_request(_read(request), stands, replace=replace)
    target = out or Path(asked.gateway)
    _check_new(target)
    authority = load_authority(settings)
    with place.opened(settings) as database, database.writing() as connection:
        doer = place.actor(actor, reason, stands.tenant)
        now_us = SystemClock().wall_us()
        done = enrolment.enrol(connection, authority, asked, doer, now_us)
        first = ceremony.first_roots(connection)
        if online := ceremony.online_key(connection, settings.folder):
            director.found(connection, online, done.gateway, now_us)
        # Within the transaction: a gateway whose files could not be written is not enrolled.
        broker = _write(target, settings, done, stands, {ROOTS: authority.roots_pem, **first})
    if as_json:
        said = {"gateway": done.gateway, "key_id": done.key_id, "folder": str(target), "broker": broker}
        show_json({**said, "updates": bool(first)})
        return
    click.echo(f"{done.gateway} is enrolled. Copy {target} to its identity folder; {AGENT} goes into its TOML.")
    if not first:
        click.echo(f"Updates are off for it: after cloud-hub keys init, cloud-hub keys roots --out {target}")


def _write(target: Path, settings: Config, done: Enrolled, stands: Place, trusted: Mapping[str, bytes]) -> str:
    url = ports.broker_url(settings, ports.choose(settings))
    hub_key = keys.load(settings.folder / HUB_KEY)
    content = {
        CERTIFICATE: done.certificate,
        HUB_KEYS: keys.listing([hub_key.public_key()]),
        **trusted,
        AGENT: _agent_toml(done.gateway, stands, url).encode(),
    }
    for name, bytes_of in content.items():
        files.write_new(target / name, bytes_of)
    return url


def _agent_toml(gateway: str, stands: Place, url: str) -> str:
    names = ("tenant", "enterprise", "site", "area", "line", "cell", "timezone")
    lines = ["# What the hub knows of this gateway: put it at the head of its TOML.", "[gateway]"]
    lines += [f"id = {json.dumps(gateway)}", *(f"{name} = {json.dumps(getattr(stands, name))}" for name in names)]
    if stands.labels:
        pairs = ", ".join(f"{json.dumps(name)} = {json.dumps(value)}" for name, value in stands.labels.items())
        lines.append(f"labels = {{ {pairs} }}")
    lines += ["", "[hub]", f"broker = {json.dumps(url)}"]
    if url.startswith("mqtts:"):
        lines.append(f"ca_file = {json.dumps(f'data/identity/{ROOTS}')}")
    return "\n".join([*lines, ""])


def _check_new(target: Path) -> None:
    for name in (CERTIFICATE, HUB_KEYS, ROOTS, AGENT, *ceremony.ROOT_FILES):
        if (target / name).exists():
            message = f"{target / name} is there already and is never overwritten"
            raise ConfigError(message, "choose another folder with --out")


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        message = f"{text!r} is not a label"
        raise ConfigError(message, "write it as name=value")
    return name, value


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise ConfigError(message, "name the request that edge-agent identity new has written") from error
