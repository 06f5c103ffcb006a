from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from edge_agent import config
from edge_agent.cli import plans
from edge_agent.clock import Clock
from edge_agent.diagnostics import doctor
from edge_agent.diagnostics.doctor import State, examine
from edge_agent.inference import engine, hardware
from edge_agent.inference.cache import StorePlans, note_quota
from edge_agent.inference.engine import own_fingerprint
from edge_agent.inference.tuning import Plan
from edge_agent.store import Store
from edge_protocol import bundle
from edge_protocol.bundle import Variant
from tests.edge_agent.cli.conftest import Say
from tests.edge_agent.inference import small_bundles
from tests.gateways import Gateway, until

PARTS = (
    *("processor", "quota", "algebra", "libraries", "providers", "clock"),
    *("configuration", "memory", "disk", "identity", "cache"),
)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    """A gateway that has judged parts and was stopped."""
    gateway = Gateway(tmp_path_factory.mktemp("ran"), rate_hz=100)
    with gateway.inside():
        until("some parts", lambda: len(gateway.journal()) > 5)
    return gateway


def states(gateway: Gateway, say: Say) -> dict[str, str]:
    """What the doctor thinks of each thing."""
    return {remark["about"].partition(" ")[0]: remark["state"] for remark in say(*ask(gateway), "--json").json}


def ask(gateway: Gateway) -> tuple[object, ...]:
    """The command line."""
    return ("doctor", "--config", gateway.config)


def test_every_thing_gets_its_sentence(ran: Gateway, say: Say) -> None:
    """Each part by name, in words and as JSON; a gateway without goldens could be better, and is not ill."""
    said = say(*ask(ran))

    assert said.code == 0
    for part in PARTS:
        assert f"  {part}: " in said.out
    assert states(ran, say)["bundle"] == "care"


def test_a_damaged_bundle_is_an_illness_with_a_cure(tmp_path: Path, say: Say) -> None:
    """Exit code 1, what is wrong and what to do."""
    gateway = Gateway(tmp_path)
    model = next(tmp_path.rglob("small-window/fp32.onnx"))
    model.write_bytes(model.read_bytes() + b"x")

    said = say(*ask(gateway))

    assert said.code == 1
    assert "ILL   bundle small-window: fp32.onnx is not the file that the manifest names" in said.out
    assert "try: the copy is damaged" in said.out


def test_a_cached_model_that_changed_on_the_disk_is_told(ran: Gateway, say: Say) -> None:
    """It is never loaded, but a disk that forgets is worth knowing of."""
    (path, *_) = ran.config.parent.rglob("*.opt")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")

    said = say(*ask(ran))

    path.write_bytes(content)
    assert "care  cache: " in said.out
    assert ", 1 not as they were written" in said.out


def test_a_provider_that_is_not_there_is_told(tmp_path: Path, say: Say) -> None:
    """What runs instead, and what would bring it; the running agent has a fault for as long as it is so."""
    gateway = Gateway(tmp_path)
    folder = next(tmp_path.rglob("small-window/fp32.onnx")).parent
    manifest, _ = bundle.read(folder)
    variant = Variant(name="fp32", file="fp32.onnx", provider="CUDAExecutionProvider")
    (folder / bundle.MANIFEST).write_bytes(bundle.canonical(msgspec.structs.replace(manifest, variants=(variant,))))

    said = say(*ask(gateway))

    assert "fp32 on CPUExecutionProvider" in said.out
    assert "CUDAExecutionProvider is not installed: it comes with onnxruntime-gpu" in said.out
    assert "; the CPU runs it\n      try: install it, or name another variant\n" in said.out
    with gateway.inside() as agent:
        (fault,) = agent._faults.active()
    assert fault.startswith("pipeline engine: provider-fallback CUDAExecutionProvider is not installed")


def test_a_device_that_takes_a_part_is_said_to_run_that_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What shares a model with the CPU is not told to be installed, and the CPU not to run it."""
    provider = "AzureExecutionProvider"
    monkeypatch.setattr(engine, "_taken", lambda _session, _name: (5, 7))
    folder = small_bundles.write_window_bundle(tmp_path / "small")
    manifest, _ = bundle.read(folder)
    variant = Variant(name="fp32", file="fp32.onnx", provider=provider)
    (folder / bundle.MANIFEST).write_bytes(bundle.canonical(msgspec.structs.replace(manifest, variants=(variant,))))

    (told,) = [each for each in doctor._bundle(folder, "", {}) if each.says.startswith(provider)]

    assert told.says == f"{provider}: it takes 5 of 7 nodes, the CPU the others"
    assert told.cure == "see with edge-agent tune whether the CPU alone is faster, or name another variant"


def test_without_avx_numpy_must_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels are named before numpy is loaded; a doctor that finds them unnamed says so."""
    monkeypatch.setattr(hardware, "architecture", lambda: "x86_64")
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset({"sse4_2"}))
    environment: dict[str, str] = {}

    assert hardware.settle_arithmetic(environment)
    assert environment == {"OPENBLAS_CORETYPE": "Nehalem"}
    assert not hardware.settle_arithmetic(environment)

    monkeypatch.setattr(doctor, "architecture", hardware.architecture)
    monkeypatch.setattr(doctor, "cpu_flags", hardware.cpu_flags)
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    assert doctor._algebra().state is State.ILL
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    assert doctor._algebra().state is State.WELL


@pytest.mark.parametrize(("flags", "arch"), [({"avx", "avx2"}, "x86_64"), (set(), "x86_64"), ({"asimd"}, "aarch64")])
def test_where_numpy_guesses_right_nothing_is_set(monkeypatch: pytest.MonkeyPatch, flags: set[str], arch: str) -> None:
    """A processor with AVX, one of another kind, and one that says nothing of itself."""
    monkeypatch.setattr(hardware, "architecture", lambda: arch)
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset(flags))
    environment: dict[str, str] = {}

    assert not hardware.settle_arithmetic(environment)
    assert environment == {}


@pytest.mark.parametrize(
    ("content", "share"),
    [("nr_periods 200\nnr_throttled 50\nthrottled_usec 9\n", 0.25), ("nr_periods 0\nnr_throttled 0\n", 0.0), ("", 0.0)],
)
def test_how_often_the_quota_stopped_us_is_what_the_cgroup_counted(tmp_path: Path, content: str, share: float) -> None:
    """A quarter of the periods is a quarter; where nothing was counted there is nothing."""
    (tmp_path / "cpu.stat").write_text(content)

    assert hardware.throttled_share(tmp_path) == share
    assert hardware.throttled_share(tmp_path / "none") == 0.0


def test_tune_keeps_a_plan_that_the_next_start_runs_by(ran: Gateway, say: Say) -> None:
    """A table of what was tried with the chosen one marked; the database has the plan, and the agent obeys it."""
    said = say("tune", "--config", ran.config, "--seconds", "2")

    assert said.code == 0
    assert said.out.count("chosen, ") == 1
    rows = say("query", "SELECT variant, threads, arena FROM plans", "--config", ran.config, "--json").json
    assert len(rows) == 1
    with ran.inside() as agent:
        options = agent._pipelines["engine"].model.engine.options
    assert (options.threads, int(options.arena)) == (rows[0]["threads"], rows[0]["arena"])


def test_the_doctor_examines_what_the_agent_runs(tmp_path: Path, say: Say) -> None:
    """A plan that was measured here says with how many threads; one of another processor says nothing."""
    gateway = Gateway(tmp_path)
    folder = next(tmp_path.rglob("small-window/fp32.onnx")).parent
    _, digest = bundle.read(folder)
    database = folder.parent.parent / "lineside.db"
    with closing(Store.open(database, quota_bytes=2**26, clock=Clock())) as store:
        StorePlans(store, "of another processor")[digest] = Plan("fp32", 3, p50_ms=9.0)
    unmeasured = say(*ask(gateway)).out
    with closing(Store.open(database, quota_bytes=2**26, clock=Clock())) as store:
        StorePlans(store, own_fingerprint())[digest] = Plan("fp32", 2, p50_ms=1.5)

    assert "1 thread, not measured on this processor and quota" in unmeasured
    assert "2 threads as measured here (1.5 ms)" in say(*ask(gateway)).out


def under(quota: float, gateway: Gateway, made: dict[float | None, Plan]) -> None:
    """A database as an agent with so many processors leaves it, with plans by the quota they were measured under."""
    folder = gateway.data / "bundles" / "small-window"
    _, digest = bundle.read(folder)
    with closing(Store.open(gateway.data / "lineside.db", quota_bytes=2**26, clock=Clock())) as store:
        note_quota(store, quota)
        for measured, plan in made.items():
            StorePlans(store, own_fingerprint(measured))[digest] = plan


def test_an_agent_notes_how_many_processors_it_has(tmp_path: Path) -> None:
    """At each start anew: the note of a start under another quota is gone."""
    gateway = Gateway(tmp_path)
    under(0.125, gateway, {})
    before = plans.noted_quota(config.load(gateway.config))

    with gateway.inside():
        pass

    assert before == 0.125
    assert plans.noted_quota(config.load(gateway.config)) == hardware.cpu_quota()


def test_plans_are_those_of_the_agents_quota_not_of_this_shells(tmp_path: Path, say: Say) -> None:
    """A service's quota stands in its own cgroup: doctor and models look by what its agent noted at its start."""
    gateway = Gateway(tmp_path)
    under(0.125, gateway, {None: Plan("fp32", 3, p50_ms=9.0)})
    unmeasured = say(*ask(gateway)).out
    under(0.125, gateway, {0.125: Plan("fp32", 2, p50_ms=1.5)})
    said, listed = say(*ask(gateway)).out, say("models", "--config", gateway.config, "--json").json

    assert "1 thread, not measured on this processor and quota" in unmeasured
    assert "2 threads as measured here (1.5 ms)" in said
    assert f"care  quota: the agent has 0.125 processors, this shell {hardware.cpu_quota():g}\n" in said
    assert [row["runs_as"] for row in listed if row["pipelines"]] == ["fp32, 2 threads, CPU"]


def test_without_a_note_plans_are_those_of_this_shell_and_it_is_said(tmp_path: Path, say: Say) -> None:
    """An agent that is older than the note, or has not run: what is shown is this shell's, in words."""
    gateway = Gateway(tmp_path)
    under(0.125, gateway, {None: Plan("fp32", 2, p50_ms=1.5)})
    store = Store.open(gateway.data / "lineside.db", quota_bytes=2**26, clock=Clock())
    with closing(store), store.transaction() as connection:
        connection.execute("DELETE FROM meta WHERE name = 'quota'")

    said, listed = say(*ask(gateway)).out, say("models", "--config", gateway.config).out
    tuned = say("tune", "--config", gateway.config, "--seconds", "0")

    assert "2 threads as measured here (1.5 ms)" in said
    assert "no agent has noted yet how many it has" in said
    assert "2 threads" in listed
    assert (tuned.err, tuned.out.endswith("runs by it, where it has as many processors as this shell\n")) == ("", True)
    assert listed.endswith("plans are those for this shell's processors: no agent has noted yet how many it has\n")


def test_what_is_measured_under_another_quota_is_said_not_to_run(tmp_path: Path, say: Say) -> None:
    """Before the time is spent and after it: the agent does not run by it, and how to measure as it runs."""
    gateway = Gateway(tmp_path)
    under(0.125, gateway, {})

    said = say("tune", "--config", gateway.config, "--seconds", "0")

    assert "the agent runs with 0.125 processors" in said.err
    assert "systemd-run" in said.err
    assert "CPUQuota=12.5%" in said.err
    assert said.out.endswith("it does not run by what is measured here\n")
    assert "the next start of the agent runs by it" not in said.out
    assert plans.by_digest(config.load(gateway.config)) == {}


def test_tune_lets_a_running_agent_be(tmp_path: Path, say: Say) -> None:
    """Measuring beside the line would disturb both: cause, cure, exit 2."""
    gateway = Gateway(tmp_path, rate_hz=20)
    with gateway.inside():
        said = say("tune", "--config", gateway.config)

    assert said.code == 2
    assert said.err.startswith("error: ")


def test_a_folder_can_be_tuned_without_a_gateway(tmp_path: Path, say: Say) -> None:
    """What would be chosen is shown; nothing is left in the folder."""
    folder = small_bundles.write_window_bundle(tmp_path / "small")
    before = sorted(path.name for path in folder.iterdir())

    rows = say("tune", folder, "--seconds", "1", "--json").json

    assert {row["variant"] for row in rows} == {"fp32"}
    assert sorted(path.name for path in folder.iterdir()) == before


def remarks(gateway: Gateway) -> Iterator[doctor.Remark]:
    """All of them, without a command line."""
    settings = config.load(gateway.config)
    return examine(settings, {}, {}, {})


def test_a_gateway_without_a_pipeline_is_ill(tmp_path: Path) -> None:
    """There is nothing to judge: the configuration is named."""
    gateway = Gateway(tmp_path)
    gateway.config.write_text('[gateway]\nid = "press-1"\n')

    assert [each.about for each in remarks(gateway) if each.state is State.ILL] == ["configuration"]
