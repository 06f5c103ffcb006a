"""What every source must do, checked on each kind."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import skimage

from edge_agent import settings
from edge_agent.sample import Trigger
from edge_agent.sources.kinds import KINDS, make_source
from edge_agent.sources.source import Source
from edge_protocol.codes import Reason, Verdict

S = 1_000_000


@dataclass
class Bench:
    """A source with a way to take its data from it."""

    source: Source
    take_away: Callable[[], object]


def folder_bench(folder: Path) -> Bench:
    """A folder with a dozen files."""
    folder.mkdir()
    for n in range(12):
        (folder / f"{n:02}.png").write_bytes(b"picture")
    source = make_source(settings.FolderSource(name="camera", path=folder, settle_s=0))
    return Bench(source, lambda: shutil.rmtree(folder))


def textures_bench(folder: Path) -> Bench:
    """A replay of one surface."""
    folder.mkdir()
    shutil.copy(Path(skimage.__file__).parent / "data" / "brick.png", folder)
    source = make_source(settings.ReplaySource(name="camera", scene="textures", path=folder))
    return Bench(source, lambda: shutil.rmtree(folder))


def windows_bench(path: Path) -> Bench:
    """A replay of a table of windows."""
    np.savetxt(path, np.column_stack([np.ones(4) * -1, np.random.default_rng(0).normal(size=(4, 50))]))
    source = make_source(settings.ReplaySource(name="engine", scene="windows", path=path))
    return Bench(source, path.unlink)


BENCHES = {"folder": folder_bench, "textures": textures_bench, "windows": windows_bench}


@pytest.fixture(params=list(BENCHES.values()), ids=list(BENCHES))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """An open source of each kind."""
    made: Bench = request.param(tmp_path / "data")
    made.source.open()
    return made


def trigger(n: int) -> Trigger:
    """The n-th trigger, a second after the one before."""
    return Trigger(1, n, 0, n * S)


def test_every_kind_is_under_contract() -> None:
    """No kind of source is left out of these tests."""
    assert set(KINDS) == {settings.FolderSource, settings.ReplaySource}


def test_each_trigger_gets_its_own_part(bench: Bench) -> None:
    """Ten triggers are ten parts, each with one channel taken at the trigger's time."""
    samples = [bench.source.grab(trigger(n)) for n in range(10)]

    assert len({sample.part for sample in samples}) == 10
    assert [next(iter(s.channels.values())).mono_us for s in samples] == [n * S for n in range(10)]
    assert {sample.fault for sample in samples} == {Reason.NONE}


def test_a_source_says_whether_something_waits(bench: Bench) -> None:
    """What waits can be grabbed."""
    assert bench.source.waiting(S)
    assert bench.source.grab(trigger(2)).fault is Reason.NONE


def test_grabbing_never_raises_when_the_data_has_gone(bench: Bench) -> None:
    """Whatever happens to the data, a trigger gets a sample: with what is still known, or with a fault."""
    bench.source.grab(trigger(1))
    bench.take_away()

    samples = [bench.source.grab(trigger(n)) for n in range(2, 20)]

    assert all(sample.channels or sample.fault is not Reason.NONE for sample in samples)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_verdicts_may_come_late_and_in_any_order(bench: Bench, verdict: Verdict) -> None:
    """`done` follows the grabs in whatever order the pipelines answer, and for unknown triggers it is nothing."""
    for n in range(3):
        bench.source.grab(trigger(n))

    for n in (2, 0, 1, 99):
        bench.source.done(trigger(n), verdict)

    assert bench.source.grab(trigger(4)).fault is Reason.NONE


def test_a_source_can_be_closed_twice_and_opened_again(bench: Bench) -> None:
    """Reopening after a fault is the ordinary way back."""
    bench.source.close()
    bench.source.close()

    bench.source.open()

    assert bench.source.grab(trigger(9)).fault is Reason.NONE
