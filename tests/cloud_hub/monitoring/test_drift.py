"""Fleet drift: the same panes give the same windows and the same alarm, however and however often they came."""

import random
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from sqlalchemy import select

from cloud_hub.access.audit import Actor
from cloud_hub.monitoring import drift, views
from cloud_hub.monitoring.drift import Rules
from cloud_hub.monitoring.views import AlarmView
from cloud_hub.storage.database import Database, insert_rows
from cloud_hub.storage.schema import panes, references, windows
from edge_protocol import counters
from edge_protocol.codes import FindingState, Stream
from edge_protocol.counters import Reference, make_signal
from edge_protocol.messages import Gap, Pane

DRIFT = Stream.DRIFT
BUNDLE = "ab" * 32
_good = np.random.default_rng(1)
REFERENCE = Reference(
    (make_signal("luma_mean", _good.normal(size=4000)), make_signal("score", _good.normal(size=4000)))
)
ME = Actor("me", "a test")


def pane(
    at: int, n: int = 250, *, luma: float = 0.0, score: float = 0.0, scored: int | None = None, **change: str
) -> Pane:
    """Counters of `n` samples whose signals are shifted by so many deviations."""
    draws = np.random.default_rng(at)
    shifts = {"luma_mean": (luma, n), "score": (score, n if scored is None else scored)}
    values = {name: draws.normal(shift, size=size) for name, (shift, size) in shifts.items()}
    counts = {
        signal.name: tuple(counters.count(signal.edges, values[signal.name]).tolist()) for signal in REFERENCE.signals
    }
    fields = {"pipeline": "seal", "bundle": BUNDLE, "reference": REFERENCE.digest} | change
    return Pane(opened_us=at * 1000, closed_us=at * 1000 + 999, n=n, counts=counts, **fields)


def know_reference(database: Database) -> None:
    """What adding the bundle would do."""
    with database.writing() as connection:
        row = (REFERENCE.digest, REFERENCE.canonical())
        insert_rows(connection, references, ("digest", "body"), [row], past_known=True)


def judge(bench, *, rules: Rules = Rules()) -> list[AlarmView]:  # noqa: B008
    """Let the receiver and the judge work; answers with the alarms that stand."""
    bench.work()
    with bench.database.writing() as connection:
        drift.tick(connection, bench.clock.wall_us(), rules)
    with bench.database.reading() as connection:
        return views.alarms(connection, active_only=True)


def every_window(database: Database) -> list[tuple[object, ...]]:
    """All windows, without their numbers."""
    columns = (
        windows.c.gateway,
        windows.c.pipeline,
        windows.c.n,
        windows.c.closed_us,
        windows.c.counts,
        windows.c.findings,
    )
    with database.reading() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(windows.c.id))]


def send(gateway, made: Sequence[Pane], start: int = 1) -> None:
    """Make panes and send them one a message."""
    gateway.record(DRIFT, *made)
    for n in range(len(made)):
        gateway.send(DRIFT, start + n, 1)


def test_drift_in_two_windows_raises_one_alarm_that_names_the_signals(bench) -> None:
    """
    One window is chance; in the second the alarm stands, names what drifts and only that, and is not raised again.
    """
    know_reference(bench.database)
    gateway = bench.gateway("press-2")

    send(gateway, [pane(n) for n in range(1, 5)])
    assert judge(bench) == []
    send(gateway, [pane(n, luma=1.5) for n in (5, 6)], 5)
    assert judge(bench) == []
    send(gateway, [pane(n, luma=1.5) for n in (7, 8)], 7)
    (alarm,) = judge(bench)
    send(gateway, [pane(n, luma=1.5, score=2.0) for n in range(9, 13)], 9)
    (later,) = judge(bench)

    assert (alarm.gateway, alarm.pipeline, alarm.signals, alarm.active) == ("press-2", "seal", ("luma_mean",), True)
    assert alarm.psi["luma_mean"] >= 0.25
    assert "luma_mean" in alarm.text
    assert (later.id, later.signals, later.raised_us) == (alarm.id, ("luma_mean", "score"), alarm.raised_us)


def test_an_alarm_ends_after_two_quiet_windows(bench) -> None:
    """
    One quiet window is chance as well; after the second the alarm is cleared, and a new drift is a new alarm.
    """
    know_reference(bench.database)
    gateway = bench.gateway()
    send(gateway, [pane(n, luma=1.5) for n in range(1, 5)])
    (alarm,) = judge(bench)

    send(gateway, [pane(n) for n in (5, 6)], 5)
    still = judge(bench)
    send(gateway, [pane(n) for n in (7, 8)], 7)
    cleared = judge(bench)
    send(gateway, [pane(n, luma=1.5) for n in range(9, 13)], 9)
    (again,) = judge(bench)

    assert [each.id for each in still] == [alarm.id]
    assert cleared == []
    assert again.id != alarm.id
    with bench.database.reading() as connection:
        assert [each.cleared_us is None for each in views.alarms(connection)] == [True, False]


def test_a_quiet_fleet_is_quiet(bench) -> None:
    """
    Two hundred windows of good parts raise nothing.
    """
    know_reference(bench.database)
    gateway = bench.gateway()
    gateway.record(DRIFT, *(pane(n) for n in range(1, 401)))
    gateway.send_held()

    assert judge(bench) == []
    assert len(every_window(bench.database)) == 200


def test_the_order_of_arrival_makes_no_difference(bench) -> None:
    """
    Panes that come late, twice or in any order give the windows that they give in order.
    """
    know_reference(bench.database)
    made = [pane(n, luma=1.5 if n > 6 else 0.0) for n in range(1, 17)]
    orderly, unruly = bench.gateway("press-1"), bench.gateway("press-2")
    send(orderly, made)
    judge(bench)
    unruly.record(DRIFT, *made)
    order = [*range(1, 17), *range(1, 17)]
    random.Random(3).shuffle(order)  # noqa: S311
    for seq in order:
        unruly.send(DRIFT, seq, 1)
        judge(bench)

    found = every_window(bench.database)

    of = {name: [row[1:] for row in found if row[0] == name] for name in ("press-1", "press-2")}
    assert len(of["press-1"]) == 8
    assert of["press-1"] == of["press-2"]
    with bench.database.reading() as connection:
        assert sorted((each.gateway, each.signals) for each in views.alarms(connection)) == [
            ("press-1", ("luma_mean",)), ("press-2", ("luma_mean",)),
        ]  # fmt: skip


def test_a_hole_is_waited_for_until_it_is_declared(bench) -> None:
    """
    Windows do not reach over panes that may still come; what will never come holds nothing up.
    """
    know_reference(bench.database)
    gateway = bench.gateway()
    gateway.record(DRIFT, *(pane(n) for n in range(1, 6)))
    for seq in (1, 3, 4, 5):
        gateway.send(DRIFT, seq, 1)
    judge(bench)
    waiting = every_window(bench.database)

    gateway.record(Stream.EVENTS, Gap(epoch=7, stream=DRIFT, first=2, last=2, reason="quota"))
    gateway.send(Stream.EVENTS, 1, 1)
    judge(bench)

    assert waiting == []
    assert [row[2] for row in every_window(bench.database)] == [500, 500]


def test_a_kill_between_two_panes_changes_nothing(bench) -> None:
    """
    Everything stands in rows: a judge that has seen none of it goes on where the last one was.
    """
    know_reference(bench.database)
    gateway = bench.gateway()
    for n in range(1, 9):
        send(gateway, [pane(n, luma=1.5)], n)
        judge(bench)

    assert len(every_window(bench.database)) == 4
    with bench.database.reading() as connection:
        assert len(views.alarms(connection)) == 1


def test_panes_of_an_unknown_reference_wait_for_it(bench) -> None:
    """
    Nothing is judged without a reference, and nothing is lost by adding it late.
    """
    gateway = bench.gateway()
    send(gateway, [pane(n, luma=1.5) for n in range(1, 5)])

    assert judge(bench) == []
    know_reference(bench.database)

    assert len(judge(bench)) == 1


def test_a_scarce_signal_gets_its_samples_or_says_so(bench) -> None:
    """
    A window grows until every signal that is counted has enough, up to twice its size; then the scarce one is
    insufficient and never alarms.
    """
    know_reference(bench.database)
    gateway = bench.gateway()
    send(gateway, [pane(n, score=3.0, scored=249) for n in range(1, 7)])
    judge(bench)
    with bench.database.reading() as connection:
        first = {view.signal: view.finding for view in views.signals(connection)}
    send(gateway, [pane(n, score=3.0, scored=10) for n in range(7, 15)], 7)
    judge(bench)
    with bench.database.reading() as connection:
        second = {view.signal: view.finding for view in views.signals(connection)}

    assert [row[2] for row in every_window(bench.database)] == [750, 750, 1000, 1000]
    assert (first["score"].state, first["score"].n) == (FindingState.DRIFT, 747)
    assert (second["score"].state, second["score"].n) == (FindingState.INSUFFICIENT, 40)


def test_counters_on_other_edges_are_an_integrity_fault(bench) -> None:
    """
    Counts that do not fit the reference are not compared, not guessed, and do not alarm.
    """
    know_reference(bench.database)
    gateway = bench.gateway()
    odd = [msgspec.structs.replace(pane(n), counts={**pane(n).counts, "score": (1, 2, 247)}) for n in range(1, 9)]
    send(gateway, odd)

    assert judge(bench) == []
    with bench.database.reading() as connection:
        states = {view.signal: view.finding.state for view in views.signals(connection)}
    assert states == {"luma_mean": FindingState.OK, "score": FindingState.INTEGRITY_FAULT}


def test_chi_square_is_shown_and_alarms_nobody(bench) -> None:
    """
    A small shift that Pearson's test is sure of raises nothing while the index is below its limit.
    """
    know_reference(bench.database)
    gateway = bench.gateway()
    gateway.record(DRIFT, *(pane(n, luma=0.3) for n in range(1, 9)))
    gateway.send_held()

    assert judge(bench) == []
    with bench.database.reading() as connection:
        finding = {view.signal: view.finding for view in views.signals(connection)}["luma_mean"]
    assert finding.p_value < 0.001
    assert finding.state is FindingState.OK


def test_a_new_bundle_ends_the_old_ones_alarm(bench) -> None:
    """
    What drifted against a model that runs no more is over; the new one is judged for itself.
    """
    know_reference(bench.database)
    gateway = bench.gateway()
    send(gateway, [pane(n, luma=1.5) for n in range(1, 5)])
    assert len(judge(bench)) == 1

    send(gateway, [pane(n, bundle="cd" * 32) for n in (5, 6)], 5)

    assert judge(bench) == []


def test_the_view_shows_live_against_reference(bench) -> None:
    """
    Each signal has its edges, the reference's counts, the last window's counts and one index a window.
    """
    know_reference(bench.database)
    gateway = bench.gateway()
    send(gateway, [pane(1)])
    judge(bench)
    with bench.database.reading() as connection:
        early = views.signals(connection, "press-1")
    send(gateway, [pane(n) for n in range(2, 7)], 2)
    judge(bench)
    with bench.database.reading() as connection:
        late = views.signals(connection, "press-1")
        nobody = views.signals(connection, "press-9")

    assert [view.signal for view in late] == ["luma_mean", "score"]
    assert {view.finding.state for view in early} == {FindingState.INSUFFICIENT}
    assert (sum(early[0].live), sum(late[0].live), len(late[0].history)) == (250, 500, 3)
    assert (late[0].edges, late[0].reference) == (REFERENCE.signals[0].edges, REFERENCE.signals[0].counts)
    assert [at for at, _ in late[0].history] == [2999, 4999, 6999]
    assert nobody == []


@pytest.mark.parametrize("rules", [Rules(samples=1000), Rules(psi=100.0), Rules(windows=5)])
def test_the_rules_are_the_owners(bench, rules: Rules) -> None:
    """
    Window, limit and number of windows are settings.
    """
    know_reference(bench.database)
    gateway = bench.gateway()
    send(gateway, [pane(n, luma=1.5) for n in range(1, 5)])

    assert judge(bench, rules=rules) == []


def test_every_pane_is_judged_once(bench, tmp_path: Path) -> None:
    """
    A pane belongs to one window, and a window's samples are its panes'.
    """
    know_reference(bench.database)
    gateway = bench.gateway()
    sizes = [random.Random(n).randint(1, 250) for n in range(60)]  # noqa: S311
    gateway.record(DRIFT, *(pane(n + 1, size) for n, size in enumerate(sizes)))
    gateway.send_held()
    judge(bench)

    with bench.database.reading() as connection:
        rows = connection.execute(select(panes.c.seq, panes.c.n, panes.c.window_id).order_by(panes.c.seq)).all()
        sizes_of = {row.id: row.n for row in connection.execute(select(windows.c.id, windows.c.n))}
    numbers = [row.window_id for row in rows if row.window_id is not None]
    assert numbers == sorted(numbers)
    for window_id, n in sizes_of.items():
        assert n == sum(row.n for row in rows if row.window_id == window_id) >= 500
    assert sum(row.n for row in rows if row.window_id is None) < 500
