"""`cloud-hub keys`: who may sign updates. Roots and the publishers' delegations are signed by keys kept elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Connection, select

from cloud_hub.access import keys
from cloud_hub.cli import place
from cloud_hub.cli.printing import as_json, show_json, show_rows, when
from cloud_hub.clock import SystemClock
from cloud_hub.config import Config
from cloud_hub.errors import ConfigError, TrustError
from cloud_hub.storage import files
from cloud_hub.storage.migrate import upgrade
from cloud_hub.storage.schema import publishers
from cloud_hub.updates import ceremony, expiry, offline, repository, signing
from cloud_hub.updates.repository import DIRECTORS, MODELS
from cloud_hub.updates.signing import ROOT, TARGETS, TIMESTAMP, Delegation
from edge_protocol import envelope
from edge_protocol.errors import SignatureError

_keys_option = click.option(
    "--keys", "stick", type=click.Path(path_type=Path), required=True, help="Folder that `keys init` has made."
)


@click.group(help="The keys that updates are signed with.")
def command() -> None:
    """The verbs below `keys`."""


@command.command("init", help="Make the keys of this hub, once. Root and targets keys go to OUT and nowhere else.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to take away afterwards.")
@place.option
@place.actor_options
@as_json
def init(*, out: Path, folder: Path, actor: str | None, reason: str, as_json: bool) -> None:
    """Make three root keys, the targets key and the online key, and sign the first metadata."""
    settings = place.load(folder)
    with _writing(settings) as connection:
        ceremony.check_new(connection)
        made = offline.create(out, settings.folder)
        online = ceremony.make_online_key(settings.folder)
        ceremony.begin(connection, made, online, _actor(settings, actor, reason), SystemClock().wall_us())
    if as_json:
        show_json({"offline": str(out), "files": [*offline.ROOTS, offline.TARGETS]})
        return
    click.echo(f"Take {out} away now: root keys and targets key are there and nowhere else.")
    click.echo("Next: cloud-hub keys new FILE on the publisher's machine, then cloud-hub keys delegate NAME FILE.pub")
    click.echo("Gateways that are enrolled already need the roots: cloud-hub keys roots --out DIR")


@command.command("new", help="Make a publisher's key on the publisher's machine: FILE, and FILE.pub for the hub.")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@as_json
def new(path: Path, *, as_json: bool) -> None:
    """Make the key pair."""
    public = offline.create_publisher(path)
    if as_json:
        show_json({"key": str(path), "public": str(public)})
    else:
        click.echo(f"Keep {path} here. The hub's owner needs {public}: cloud-hub keys delegate NAME {public}")


@command.command("delegate", help="Let the publisher NAME sign bundles with the key of FILE.pub.")
@click.argument("name")
@click.argument("public", metavar="FILE.pub", type=click.Path(path_type=Path))
@click.option("--paths", "patterns", multiple=True, required=True, help="Bundle name, or with * and ?; repeatable.")
@_keys_option
@place.option
@place.actor_options
@as_json
def delegate(
    name: str, public: Path, *, patterns: tuple[str, ...], stick: Path, folder: Path, actor: str | None, reason: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Sign the delegation with the targets key."""
    settings = place.load(folder)
    publisher = Delegation(name, _public_key(public), patterns)
    targets = offline.load_targets(stick)
    with _writing(settings) as connection:
        online = ceremony.need_online_key(connection, settings.folder)
        doer = _actor(settings, actor, reason)
        ceremony.delegate(connection, publisher, targets, online, actor=doer, now_us=SystemClock().wall_us())
    if as_json:
        show_json({"publisher": name, "key": signing.key_name(publisher.key), "patterns": patterns})
    else:
        click.echo(f"{name} may sign {' '.join(patterns)}. Next, there: cloud-hub publish DIR --key FILE")


@command.command("revoke", help="Let the publisher NAME sign nothing any more.")
@click.argument("name")
@_keys_option
@place.option
@place.actor_options
@as_json
def revoke(name: str, *, stick: Path, folder: Path, actor: str | None, reason: str, as_json: bool) -> None:
    """Sign `targets` without the publisher."""
    settings = place.load(folder)
    targets = offline.load_targets(stick)
    with _writing(settings) as connection:
        online = ceremony.need_online_key(connection, settings.folder)
        doer = _actor(settings, actor, reason)
        ceremony.revoke(connection, name, targets, online, actor=doer, now_us=SystemClock().wall_us())
    if as_json:
        show_json({"revoked": name})
    else:
        click.echo(f"{name} signs nothing any more. What runs keeps running; its releases can't be rolled out.")


@command.command(
    "rotate", help="Replace the hub's online key, in new roots; with the targets key delegations hold another year."
)
@_keys_option
@place.option
@place.actor_options
@as_json
def rotate(*, stick: Path, folder: Path, actor: str | None, reason: str, as_json: bool) -> None:
    """Make a new online key, name it in new roots, and sign everything with it."""
    settings = place.load(folder)
    roots = offline.load_roots(stick)
    targets = offline.load_targets(stick) if (stick / offline.TARGETS).exists() else None
    with _writing(settings) as connection:
        version = repository.version_of(connection, MODELS, ROOT) + 1
        # A key that no root names is harmless: should this be cut short, the next rotation makes another one.
        path = settings.folder / ceremony.KEYS / f"online-{version}-{SystemClock().wall_us()}.pem"
        online = keys.create(path)
        doer, now_us = _actor(settings, actor, reason), SystemClock().wall_us()
        ceremony.rotate(connection, roots, online, targets=targets, actor=doer, now_us=now_us)
    for old in path.parent.glob("online*.pem"):
        if old != path:
            old.unlink()
    if as_json:
        show_json({"root": version, "online": signing.key_name(online.public_key())})
    else:
        click.echo(f"Root version {version} names the new online key; gateways take it with their next set.")


@command.command("roots", help="Write the first roots into a folder, for a gateway that was enrolled without them.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the two files.")
@place.option
@as_json
def roots(*, out: Path, folder: Path, as_json: bool) -> None:
    """Write what a gateway begins to trust with."""
    with place.opened(place.load(folder)) as database, database.reading() as connection:
        content = ceremony.first_roots(connection)
    if not content:
        raise TrustError(repository.OFF, repository.OFF_HINT)
    for name, raw in content.items():
        files.write_new(out / name, raw)
    if as_json:
        show_json({"files": [str(out / name) for name in content]})
    else:
        click.echo(f"Copy {' and '.join(content)} from {out} into the gateway's identity folder.")


@command.command("show", help="Show the keys, what they sign and until when.")
@place.option
@as_json
def show(*, folder: Path, as_json: bool) -> None:
    """Show roots, delegations and expiry."""
    settings = place.load(folder)
    with place.opened(settings) as database, database.reading() as connection:
        rows = [*_top(connection), *_publishers(connection)]
        warned = expiry.warnings(connection, SystemClock().wall_us(), settings.settings.keys.warn_days)
    if as_json:
        show_json({"keys": rows, "warnings": warned})
        return
    for row in rows:
        row["expires"] = when(row.pop("expires_us"))
        row["key"] = row["key"][:12]
    show_rows(rows, f"{repository.OFF}; {repository.OFF_HINT}")
    for each in warned:
        click.echo(f"warning: {when(each.expires_us)}: {each.text}")


def _top(connection: Connection) -> Iterator[dict[str, Any]]:
    for where in (MODELS, DIRECTORS):
        raw = repository.latest(connection, where, ROOT)
        if raw is None:
            return
        named, stamp = signing.open_keys(raw), signing.open_stamp(raw)
        for key in named.root:
            yield _row(f"{where.name} root", key, stamp)
        online = repository.latest(connection, where, TIMESTAMP)
        targets = repository.latest(connection, where, TARGETS)
        if targets is not None and online is not None:
            yield _row(f"{where.name} targets", named.targets, signing.open_stamp(targets))
            yield _row(f"{where.name} online", named.online, signing.open_stamp(online))


def _publishers(connection: Connection) -> Iterator[dict[str, Any]]:
    for each in connection.execute(select(publishers).order_by(publishers.c.delegated_us)):
        raw = repository.latest(connection, MODELS, signing.publisher_role(each.name))
        stamp = signing.Stamp(0, 0) if raw is None else signing.open_stamp(raw)
        row = _row(f"publisher {each.name}", envelope.load_public_key(each.pem.encode()), stamp)
        yield row | {"signs": "revoked" if each.revoked_us is not None else " ".join(each.patterns)}


def _row(what: str, key: envelope.PublicKey, stamp: signing.Stamp) -> dict[str, Any]:
    name = signing.key_name(key)
    return {"role": what, "key": name, "version": stamp.version, "signs": "", "expires_us": stamp.expires_us}


@contextmanager
def _writing(settings: Config) -> Iterator[Connection]:
    with place.opened(settings) as database:
        upgrade(database)
        with database.writing() as connection:
            yield connection


def _actor(settings: Config, actor: str | None, reason: str) -> Any:
    return place.actor(actor, reason, settings.settings.hub.tenant)


def _public_key(path: Path) -> envelope.PublicKey:
    try:
        return envelope.load_public_key(path.read_bytes())
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise ConfigError(message, "name the FILE.pub that cloud-hub keys new has written") from error
    except SignatureError as error:
        message = f"{path}: {error}"
        raise ConfigError(message, "name the FILE.pub that cloud-hub keys new has written") from error
