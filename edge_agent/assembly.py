"""The tables of the configuration come in, the parts that they describe go out: one function for each kind of part.

Whatever is missing or wrong is found here, before the gateway's data is touched.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from time import monotonic, sleep

from edge_agent import identity, settings
from edge_agent.clock import Clock
from edge_agent.config import Config
from edge_agent.crew import yield_to_others
from edge_agent.diagnostics.exhibit import FOLDER
from edge_agent.diagnostics.exhibits import Exhibits
from edge_agent.errors import ConfigError, StoreError
from edge_agent.inference.cache import Cache
from edge_agent.inference.intake import Intake
from edge_agent.inference.lane import Guard as GuardCheck
from edge_agent.inference.model import Model
from edge_agent.inference.pipeline import Exhibit, Pipeline
from edge_agent.judgement import Judgement
from edge_agent.monitoring.faults import Faults
from edge_agent.outputs.http import HttpOutput
from edge_agent.outputs.kinds import make_output
from edge_agent.outputs.output import Output
from edge_agent.serving.metrics import Buffered, Metrics
from edge_agent.serving.server import Server
from edge_agent.sources.guard import Guard, Kind
from edge_agent.sources.kinds import make_source, make_ticker
from edge_agent.sources.source import Source
from edge_agent.station import Station
from edge_agent.telemetry.outbox import Outbox
from edge_agent.telemetry.uplink import Uplink
from edge_protocol import ranges, topics
from edge_protocol.bundle import MANIFEST, ImageInput, TensorInput, WindowInput
from edge_protocol.codes import Stream
from edge_protocol.errors import LinkError
from edge_protocol.messages import AnyRecord, GatewayState, Link, encode
from edge_protocol.mqtt import MqttLink, Tls

DATABASE = "lineside.db"
CACHE = "cache"

SHOW_NICE = 10
"""How far the thread that draws and explains gives way."""

NEIGHBOURS_NICE = 10
"""How far the threads that answer neighbours give way: they get a tenth of a processor that the line wants too."""

KINDS: dict[type, Kind] = {ImageInput: "image", WindowInput: "window", TensorInput: "tensor"}
"""What a guard makes of the input of a bundle."""

DRAIN_S = 3.0
"""How long a stop waits for the hub's last receipts; what has none stays in the outbox."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the agent needs that is not its own data: found and loaded, the outputs not yet open."""

    identity: identity.Identity | None
    link: MqttLink | None
    server: Server
    models: Mapping[str, Model] | None
    """None: the database says what runs."""
    optimised: Mapping[str, str]
    """The rows of what was made of these models, for the database that is not there yet."""
    sources: Mapping[str, dict[str, Source]]
    outputs: Mapping[str, tuple[Output, ...]]


def gather(config: Config, undo: ExitStack) -> Surroundings:
    """Everything outside the gateway's data; `undo` learns how to let go of it. What only looks comes first.

    Raises:
        AgentError: something is missing, wrong, taken or not writable.
    """
    _check_pipelines(config)
    is_new = not (config.data_dir / DATABASE).exists()
    if is_new:
        _check_bundles(config)
    own = load_identity(config)
    link = make_link(config)
    server = make_server(config.serving)
    undo.callback(server.close)
    # A first start that finds a damaged bundle leaves nothing behind.
    made: dict[str, str] = {}
    cache = Cache(config.data_dir / CACHE, made)
    models = {table.name: load_placed(config, table, cache) for table in config.pipelines} if is_new else None
    sources = make_sources(config)
    for source in (source for each in sources.values() for source in each.values()):
        undo.callback(source.close)
        source.open()
    return Surroundings(own, link, server, models, made, sources, make_outputs(config))


def open_outputs(around: Surroundings, undo: ExitStack) -> None:
    """Open the outputs once the data is ours: a second agent by mistake must not speak to the line.

    Raises:
        OutputError: one of them cannot be used as configured.
    """
    for output in {output.name: output for each in around.outputs.values() for output in each}.values():
        undo.callback(output.close)
        output.open()


def load_placed(config: Config, table: settings.Pipeline, cache: Cache) -> Model:
    """The model of the bundle that was placed for a pipeline, loaded and warm.

    Raises:
        InferenceError: the bundle is damaged or cannot run here.
    """
    folder = config.data_dir / "bundles" / table.bundle
    return Model.load(folder, variant=table.variant or None, cache=cache)


def load_identity(config: Config) -> identity.Identity | None:
    """The keys, where there is a hub to talk to.

    Raises:
        IdentityError: a file is missing or does not hold what it should.
    """
    if config.hub is None:
        return None
    files = config.identity
    return identity.load(files.key_file, files.hub_keys_file, files.certificate_file, config.gateway.id)


def make_pipelines(
    config: Config,
    models: Mapping[str, Model],
    clock: Clock,
    emit: Callable[[Judgement], None],
    metrics: Metrics,
    *,
    exhibit: Exhibit,
) -> dict[str, Pipeline]:
    """The pipelines by name, each with a guard of its own."""
    pipelines = {}
    for table in config.pipelines:
        model = models[table.name]
        pipelines[table.name] = Pipeline(
            table.name,
            model,
            guard=make_guard(table, model),
            emit=emit,
            clock=clock,
            deadline_ms=table.deadline_ms,
            policy=table.policy,
            sample_every=table.sample_every,
            observe=metrics.observer(table.name),
            exhibit=exhibit,
        )
    return pipelines


def make_exhibits(
    config: Config, model: Callable[[str], Model], clock: Clock, record: Callable[[Stream, AnyRecord], None]
) -> Exhibits:
    """What explains verdicts; `model` is what judges for a pipeline now."""
    budget_bytes = config.store.exhibits_mb * 2**20
    return Exhibits(config.data_dir / FOLDER, budget_bytes=budget_bytes, model=model, record=record, clock=clock)


def make_guard(table: settings.Pipeline, model: Model, *, follows: bool = True) -> GuardCheck:
    """A guard of its own for a model of a pipeline; with `follows` it remembers what came before an input.

    Raises:
        ConfigError: the picture that it shall compare with cannot be read.
    """
    return _guard(table, model, follows=follows).check


def question_guards(config: Config) -> Callable[[str, Model], GuardCheck]:
    """What makes guards for the questions of neighbours: the limits of the pipeline, and no memory."""
    tables = {table.name: table for table in config.pipelines}
    return lambda pipeline, model: make_guard(tables[pipeline], model, follows=False)


def guard_limits(config: Config) -> Callable[[str, Model], Mapping[str, tuple[float, float | None]]]:
    """What tells the limits that hold for the pictures of a pipeline and its model, as numbers."""
    tables = {table.name: table for table in config.pipelines}
    return lambda pipeline, model: _guard(tables[pipeline], model, follows=False).limits


def _guard(table: settings.Pipeline, model: Model, *, follows: bool) -> Guard:
    contract = model.manifest.input
    vibration = contract.vibration if isinstance(contract, WindowInput) else None
    axes = 1 + len(vibration.axes) if vibration is not None else 1
    return Guard(table.guard, KINDS[type(contract)], model.reference, axes=axes, follows=follows)


def make_sources(config: Config) -> dict[str, dict[str, Source]]:
    """The sources that each trigger's pipelines look at, by trigger and name. A trigger nobody waits for has none."""
    tables = {table.name: table for table in config.sources}
    made: dict[str, dict[str, Source]] = {}
    for pipeline in config.pipelines:
        seen = made.setdefault(pipeline.trigger, {})
        if pipeline.source not in seen:
            seen[pipeline.source] = make_source(tables[pipeline.source], config.gateway.id)
    return made


def make_stations(
    config: Config,
    sources: Mapping[str, dict[str, Source]],
    pipelines: Mapping[str, Pipeline],
    metrics: Metrics,
    *,
    intake: Intake,
    clock: Clock,
    faults: Faults,
    recorded: Callable[[], Mapping[str, int]],
) -> list[Station]:
    """One station for each trigger that a pipeline waits for."""
    stations = []
    for trigger in (trigger for trigger in config.triggers if trigger.name in sources):
        mine = [table for table in config.pipelines if table.trigger == trigger.name]
        seen = sources[trigger.name]
        station = Station(
            trigger.name,
            make_ticker(trigger, seen, config.gateway.id),
            seen,
            {name: [pipelines[table.name] for table in mine if table.source == name] for name in seen},
            intake=intake,
            clock=clock,
            faults=faults,
            observe={table.name: metrics.observer(table.name) for table in mine},
            recorded=recorded,
            missed=lambda ticks, name=trigger.name: metrics.count_missed(name, ticks),  # type: ignore[misc]
        )
        stations.append(station)
    return stations


def make_outputs(config: Config) -> dict[str, tuple[Output, ...]]:
    """The outputs of each pipeline; two pipelines that name the same output share it.

    Raises:
        ConfigError: a broker's URL or TLS files cannot be used.
    """
    outputs = {table.name: make_output(table, config.gateway.id) for table in config.outputs}
    return {pipeline.name: tuple(outputs[name] for name in pipeline.outputs) for pipeline in config.pipelines}


def owing(outputs: Mapping[str, Sequence[Output]]) -> dict[str, tuple[str, ...]]:
    """By pipeline, the outputs that try on their own time, and so owe what a kill interrupts."""
    return {name: tuple(o.name for o in each if isinstance(o, HttpOutput)) for name, each in outputs.items()}


def make_server(table: settings.Serving) -> Server:
    """What answers the neighbours, listening; its threads give way to the line's.

    Raises:
        ConfigError: an address is in use, not ours, or open to others without a token.
    """
    begin = partial(yield_to_others, NEIGHBOURS_NICE)
    return Server(table.host, table.port, path=table.socket, token_file=table.token_file, begin=begin)


def make_link(config: Config) -> MqttLink | None:
    """The link to the hub's broker, where there is a hub; not yet started.

    Raises:
        ConfigError: its URL or TLS files cannot be used.
    """
    hub, gateway, files = config.hub, config.gateway.id, config.identity
    if hub is None:
        return None
    tls = None
    if hub.broker.startswith("mqtts:"):
        tls = Tls(ca_file=hub.ca_file, certificate_file=files.certificate_file, key_file=files.key_file)
    will = (topics.up(gateway, "link"), encode(Link(online=False)))
    try:
        return MqttLink(hub.broker, gateway, will=will, tls=tls, backoff_s=(min(1.0, hub.backoff_s), hub.backoff_s))
    except LinkError as error:
        message = f"[hub] broker: {error}"
        raise ConfigError(message, error.hint) from error


def make_uplink(
    config: Config,
    around: Surroundings,
    outbox: Outbox,
    clock: Clock,
    state: Callable[[], GatewayState],
) -> Uplink | None:
    """The way to the hub, where there is one."""
    hub, own, link = config.hub, around.identity, around.link
    if hub is None or own is None or link is None:
        return None
    return Uplink(
        outbox,
        link,
        config.gateway.id,
        own.key,
        own.hub_keys,
        clock,
        linger_s=hub.linger_s,
        batch_rows=hub.batch_rows,
        resend_s=hub.resend_s,
        state_s=hub.state_s,
        state=state,
    )


def buffered(outbox: Outbox) -> Callable[[], Buffered]:
    """What waits for the hub, for whoever asks."""
    return lambda: Buffered(sum(ranges.count(account.held) for account in outbox.accounts()), outbox.oldest_s())


def niceness(config: Config) -> dict[str, int]:
    """How far the thread of each pipeline gives way: those of the highest priority not at all."""
    highest = max((each.priority for each in config.pipelines), default=0)
    return {each.name: highest - each.priority for each in config.pipelines}


def drain(uplink: Uplink, outbox: Outbox) -> None:
    """Send what is left, for at most `DRAIN_S`, and disconnect. What gets no receipt stays in the outbox."""
    uplink.hurry()
    end_s = monotonic() + DRAIN_S
    with suppress(StoreError):  # A disk that cannot be read now is read by the next start.
        while uplink.connected and any(account.held for account in outbox.accounts()) and monotonic() < end_s:
            if not uplink.step():
                sleep(0.02)
    with suppress(StoreError):
        uplink.close()


def _check_pipelines(config: Config) -> None:
    if not config.pipelines:
        message = f"gateway {config.gateway.id} has no pipeline: there is nothing to judge"
        raise ConfigError(message, "add [[sources]], [[triggers]] and [[pipelines]]; edge_agent/README.md shows them")


def _check_bundles(config: Config) -> None:
    for pipeline in config.pipelines:
        check_placed(config, pipeline)


def check_placed(config: Config, table: settings.Pipeline) -> None:
    """See that there is a placed bundle for a pipeline.

    Raises:
        ConfigError: there is none.
    """
    manifest = config.data_dir / "bundles" / table.bundle / MANIFEST
    if not manifest.is_file():
        message = f"[[pipelines]] {table.name!r}: there is no model: {manifest} is missing"
        raise ConfigError(message, "copy the bundle's folder there, or name another; edge-agent models lists them")
