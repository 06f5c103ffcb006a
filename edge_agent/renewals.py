"""The agent's parts come in, what renews its models goes out: which model a pipeline starts with, and `Updates`.

Calls into the other rooms are handed over here, so that none of them knows another.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_agent import identity, settings
from edge_agent.assembly import CACHE, check_placed, load_placed, make_guard
from edge_agent.assembly import Surroundings as Found
from edge_agent.clock import Clock
from edge_agent.config import Config
from edge_agent.errors import ConfigError, InferenceError
from edge_agent.inference.cache import Cache, note_quota
from edge_agent.inference.engine import open_cache
from edge_agent.inference.hardware import cpu_quota
from edge_agent.inference.model import Model
from edge_agent.inference.pipeline import Pipeline
from edge_agent.store import Store
from edge_agent.telemetry.outbox import Outbox
from edge_agent.telemetry.uplink import Uplink
from edge_agent.updates import points, trust
from edge_agent.updates.ledger import Ledger, Slot
from edge_agent.updates.renewal import Renewal, Surroundings
from edge_agent.updates.resume import resume, start_over
from edge_agent.updates.updates import BLOCK, Updates
from edge_agent.updates.workshop import Workshop
from edge_protocol import bundle, topics
from edge_protocol.agreement import is_below
from edge_protocol.codes import Stream
from edge_protocol.errors import ManifestError
from edge_protocol.messages import Adjusted, Update, Want
from edge_protocol.metadata import DIRECTOR, MODELS


@dataclass(frozen=True, slots=True)
class Around:
    """What updates need of the running agent."""

    pipelines: Mapping[str, Pipeline]
    send: Callable[[Want], bool]
    begin: Callable[[str, Model], None]
    is_silent: Callable[[str], bool]
    outbox: Outbox


def make_ledger(store: Store, outbox: Outbox) -> Ledger:
    """The rows of updates, whose steps go on the stream of events in the same transaction."""

    def tell(note: Update) -> None:
        outbox.append([], [(Stream.EVENTS, store.clock.wall_us(), note)])

    return Ledger(store, tell)


def running_models(config: Config, store: Store, ledger: Ledger, found: Found) -> Mapping[str, Model]:
    """What each pipeline starts with: what was found, what its row says, or the bundle that was placed for it.

    Raises:
        ConfigError: there is no row and no bundle.
        InferenceError: neither what runs nor what was before can be loaded.
        StoreError: the rows cannot be read or written.
    """
    note_quota(store, cpu_quota())
    cache = open_cache(config.data_dir / CACHE, store)
    cache.adopt(found.optimised)
    if found.models is not None:
        return found.models
    rows = ledger.slots()
    models = {}
    for table in config.pipelines:
        row = rows.get(table.name)
        if row is None:
            check_placed(config, table)
            models[table.name] = load_placed(config, table, cache)
        else:
            models[table.name] = _resume(config, table, row, ledger, cache, was_clean=store.was_clean)
    return models


def make_updates(config: Config, store: Store, ledger: Ledger, clock: Clock, around: Around) -> Updates | None:
    """What takes updates, where there is a hub and something to trust. Pipelines judge by their rows from here on.

    Raises:
        ConfigError: the roots or the data folder cannot be read.
        StoreError: the rows cannot be read.
    """
    points.restore(store, around.pipelines)
    if identity.why_no_updates(config):
        return None
    tables = {table.name: table for table in config.pipelines}
    try:
        roots = trust.load_roots(config.identity.models_root_file, config.identity.director_root_file)
        cache = open_cache(config.data_dir / CACHE, store)
        workshop = Workshop(config.data_dir, config.updates, around.send, clock, cache=cache)
    except OSError as error:
        message = f"updates: {error.filename}: {error.strerror}"
        raise ConfigError(message, "let the agent's user own the data directory") from error
    if roots is None:
        return None

    def tell(change: Adjusted) -> None:
        around.outbox.append([], [(Stream.EVENTS, store.clock.wall_us(), change)])

    def make_renewal(name: str, may_return: Callable[[str], bool]) -> Renewal:
        return Renewal(
            around.pipelines[name],
            tables[name],
            config.updates,
            workshop=workshop,
            ledger=ledger,
            clock=clock,
            around=Surroundings(
                around.begin, around.is_silent, may_return, lambda model: make_guard(tables[name], model)
            ),
            placed=config.data_dir / "bundles" / tables[name].bundle,
        )

    return Updates(
        trust.Trust(config.data_dir / "trust", roots, store, clock, config.gateway.id, tuple(tables)),
        workshop,
        ledger,
        clock,
        make_renewal=make_renewal,
        pipelines=tuple(tables),
        folder=config.data_dir / "requests",
        points=points.Points(store, around.pipelines, workshop.objects, workshop.download, tell),
    )


def listen(uplink: Uplink, gateway: str, updates: Updates | None) -> None:
    """Connect, and let `updates` hear what is for it."""
    if updates is None:
        uplink.start()
        return
    uplink.start(
        {
            topics.FLEET_MODELS: lambda payload: updates.on_message(MODELS, payload),
            topics.down(gateway, "desired"): lambda payload: updates.on_message(DIRECTOR, payload),
            topics.down(gateway, "block"): lambda payload: updates.on_message(BLOCK, payload),
        },
        updates.on_connect,
    )


def _resume(
    config: Config, table: settings.Pipeline, row: Slot, ledger: Ledger, cache: Cache, *, was_clean: bool
) -> Model:
    try:
        return resume(
            row,
            ledger,
            lambda digest: _load_slot(config, table, digest, cache),
            was_clean=was_clean,
            may_return=lambda digest: _may_run(ledger, config.data_dir / "slots" / digest) if digest else False,
        )
    except InferenceError as error:
        if not _may_run(ledger, config.data_dir / "bundles" / table.bundle):
            raise
        return start_over(row, ledger, load_placed(config, table, cache), str(error))


def _load_slot(config: Config, table: settings.Pipeline, digest: str, cache: Cache) -> Model:
    folder = config.data_dir / "slots" / digest
    return Model.load(folder, variant=table.variant or None, cache=cache)


def _may_run(ledger: Ledger, folder: Path) -> bool:
    """Whether the bundle in `folder` is not below its publisher's floor."""
    try:
        manifest, _ = bundle.read(folder)
    except ManifestError:
        return False
    return not is_below(manifest.version, ledger.floor(manifest.name))
