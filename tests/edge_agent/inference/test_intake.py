import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_agent import recovery
from edge_agent.clock import Clock
from edge_agent.inference import ring
from edge_agent.inference.intake import Intake, IntakeFull
from edge_agent.judgement import Judgement
from edge_agent.sample import Trigger
from edge_agent.store import Store, fetch
from edge_agent.telemetry.outbox import Outbox
from edge_protocol.batch import Context
from edge_protocol.codes import Reason, Verdict

ROOT = Path(__file__).parents[3]
CONTEXT = Context("surface", "tiles", "1", b"d" * 32, "fp32", b"o" * 32)
SLOTS = 16


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ring is."""
    return tmp_path / "intake.ring"


def opened(path: Path, boot: str = "boot-1", epoch: int = 7, after: int = 0, owed_from: int = 0) -> Intake:
    """The ring as a new process finds it. The one before it was killed, or closed its own."""
    return Intake.open(path, slots=SLOTS, boot=boot, epoch=epoch, after=after, owed_from=owed_from)


def judged(trigger: Trigger, pipeline: str = "surface", verdict: Verdict = Verdict.NG) -> Judgement:
    """A verdict for `trigger`."""
    context = CONTEXT if pipeline == "surface" else Context(pipeline)
    return Judgement(trigger, pipeline, context, verdict, Reason.SCORE_REJECT, 0.75, 1300)


def test_numbers_follow_each_other_over_restarts(path: Path):
    """
    A trigger's number is never given twice, whether the process before was closed or killed.
    """
    numbers = []
    for i in range(6):
        intake = opened(path)
        trigger = intake.take(("surface",), 1, 2)
        numbers.append(trigger.n)
        intake.settle([judged(trigger)])
        if i % 2:
            intake.close()

    assert numbers == [1, 2, 3, 4, 5, 6]


def test_a_trigger_without_an_answer_comes_back_uninspected(path: Path):
    """
    After a kill, what was taken and not answered is UNINSPECTED, and says that it was interrupted.
    """
    taken = opened(path).take(("surface", "engine"), 11, 22, part="P-1", product="tile", lot="L")

    found = opened(path).recover()

    assert found.answered == ()
    assert [each.pipeline for each in found.unanswered] == ["surface", "engine"]
    assert {each.trigger for each in found.unanswered} == {taken}
    assert {(each.verdict, each.reason) for each in found.unanswered} == {(Verdict.UNINSPECTED, Reason.INTERRUPTED)}


def test_an_answer_comes_back_as_it_was_given(path: Path):
    """
    After a kill, the verdict that the line may have heard is the verdict that is found, with what judged it.
    """
    intake = opened(path)
    trigger = intake.take(("surface", "engine"), 11, 22)
    named = Trigger(trigger.epoch, trigger.n, 11, 22, "P-1", "tile", "L")
    given = judged(named)
    intake.answer(given)

    found = opened(path).recover()

    assert found.answered == (given,)
    assert [each.pipeline for each in found.unanswered] == ["engine"]


def test_what_is_settled_does_not_come_back(path: Path):
    """
    A slot is free once its verdict is on record, and only its own.
    """
    intake = opened(path)
    triggers = [intake.take(("surface",), 1, 2) for _ in range(3)]
    for trigger in triggers:
        intake.answer(judged(trigger))

    intake.settle([judged(triggers[1])])

    found = opened(path).recover()
    assert [each.trigger.n for each in found.answered] == [triggers[0].n, triggers[2].n]


def test_what_was_found_stays_until_it_is_settled(path: Path):
    """
    A kill during recovery loses nothing: the slots are as they were until their verdicts are on record.
    """
    opened(path).take(("surface",), 1, 2)

    first = opened(path).recover()
    again = opened(path)
    assert again.recover() == first
    again.settle(first.unanswered)

    assert opened(path).recover().unanswered == ()


def test_a_full_ring_gives_no_number(path: Path):
    """
    Without room for all its pipelines a trigger is not taken, and its number is given to the next one.
    """
    intake = opened(path)
    triggers = [intake.take(("surface", "engine"), 1, 2) for _ in range(SLOTS // 2)]

    with pytest.raises(IntakeFull):
        intake.take(("surface", "engine"), 1, 2)
    intake.settle([judged(triggers[0], "surface"), judged(triggers[0], "engine")])

    assert intake.take(("surface", "engine"), 1, 2).n == triggers[-1].n + 1


def test_a_slot_is_used_again_and_again(path: Path):
    """
    A ring that is settled holds any number of triggers, and few of its slots are ever touched.
    """
    intake = opened(path)

    for _ in range(20 * SLOTS):
        trigger = intake.take(("surface",), 1, 2)
        intake.answer(judged(trigger))
        intake.settle([judged(trigger)])

    assert intake.open_slots == 0
    used = path.read_bytes()[ring.HEADER_BYTES + ring.CONTEXTS * ring.CONTEXT_BYTES + ring.SLOT_BYTES :]
    assert set(used) == {0}


def test_after_a_power_cut_the_ring_is_not_believed(path: Path):
    """
    In another boot nothing is taken from the ring, and numbering goes on beyond all that may have been given.
    """
    intake = opened(path)
    taken = [intake.take(("surface",), 1, 2).n for _ in range(SLOTS)]
    recorded = taken[3]

    # The disk may hold any older state of the ring, even the first one.
    path.write_bytes(ring.blank(SLOTS).replace(b"\1", b"\0"))
    blank = bytearray(ring.blank(SLOTS))
    blank[24] = 0
    path.write_bytes(blank)
    found = opened(path, boot="boot-2", after=recorded).recover()

    assert found.power_cut
    assert (found.answered, found.unanswered) == ((), ())
    assert found.skipped == (recorded + 1, recorded + SLOTS)
    assert found.next_n > taken[-1]


def test_a_power_cut_makes_all_triggers_uncertain_that_have_no_record(path: Path):
    """
    Where the disk has the ring as it was last, the triggers that it had given are uncertain too, not only later ones.
    """
    intake = opened(path)
    given = [intake.take(("surface",), 1, 2).n for _ in range(SLOTS)]
    recorded = given[3]

    found = opened(path, boot="boot-2", after=recorded).recover()

    assert found.skipped is not None
    assert found.skipped[0] == recorded + 1
    assert found.skipped[1] >= given[-1]
    assert found.next_n > found.skipped[1]


def test_a_power_cut_makes_uncertain_what_the_slower_pipeline_owes(path: Path):
    """
    One pipeline may be behind another at the last commit: what it owed then is uncertain, on record elsewhere or not.
    """
    intake = opened(path)
    triggers = [intake.take(("fast", "slow"), 1, 2) for _ in range(5)]
    on_record = [judged(each, "fast") for each in triggers[:4]] + [judged(triggers[0], "slow")]
    owed_from = intake.owed_from(on_record)

    found = opened(path, boot="boot-2", after=triggers[3].n, owed_from=owed_from).recover()

    assert owed_from == triggers[1].n
    assert found.skipped is not None
    assert found.skipped[0] == owed_from
    assert found.next_n > triggers[-1].n


def test_a_boot_after_an_orderly_stop_is_no_power_cut(path: Path):
    """
    A machine that was shut down in order leaves nothing uncertain.
    """
    intake = opened(path)
    intake.settle([judged(intake.take(("surface",), 1, 2))])
    intake.close()

    found = opened(path, boot="boot-2", after=1).recover()

    assert not found.power_cut
    assert found.next_n == 2


def test_a_stop_that_left_something_behind_is_not_orderly(path: Path):
    """
    A ring that was closed with open slots gives them back in the same boot, and is uncertain in another.
    """
    intake = opened(path)
    intake.take(("surface",), 1, 2)
    intake.close()

    reopened = opened(path)
    assert len(reopened.recover().unanswered) == 1
    reopened.close()

    assert opened(path, boot="boot-2").recover().power_cut


@pytest.mark.parametrize("content", [None, b"", b"LINERNG1", b"x" * 100_000])
def test_a_lost_or_foreign_ring_is_a_power_cut(path: Path, content: bytes | None):
    """
    Where there should be a ring and is none, the numbers beyond the last record are skipped.
    """
    if content is not None:
        path.write_bytes(content)

    found = opened(path, after=40).recover()

    assert found.power_cut
    assert found.next_n == 41 + SLOTS


def test_a_new_gateway_has_nothing_uncertain(path: Path):
    """
    The first start of all begins with trigger 1.
    """
    found = opened(path).recover()

    assert (found.next_n, found.power_cut, found.skipped) == (1, False, None)


def test_a_torn_slot_is_counted_and_not_believed(path: Path):
    """
    A slot whose bytes do not fit its checksum yields no verdict.
    """
    intake = opened(path)
    intake.answer(judged(intake.take(("surface",), 1, 2)))
    intake.take(("surface",), 1, 2)
    with path.open("r+b") as file:
        file.seek(ring.HEADER_BYTES + ring.CONTEXTS * ring.CONTEXT_BYTES + 5)
        file.write(b"\xff")

    found = opened(path).recover()

    assert found.torn == 1
    assert found.answered == ()
    assert [each.trigger.n for each in found.unanswered] == [2]


def test_a_trigger_that_was_half_taken_does_not_exist(path: Path):
    """
    A kill between the slots of a trigger and its number leaves no trigger, for none of its pipelines.
    """
    intake = opened(path)
    intake.take(("surface", "engine"), 1, 2)
    intake._header.next_n = 1

    found = opened(path)

    assert found.recover().unanswered == ()
    assert found.take(("surface",), 1, 2).n == 1


def test_more_contexts_than_there_is_room_for(path: Path):
    """
    Entries of contexts that no slot needs are given to new ones: any number of models may follow each other.
    """
    intake = opened(path)
    for n in range(3 * ring.CONTEXTS):
        trigger = intake.take(("surface",), 1, 2)
        context = Context("surface", "tiles", str(n), b"d" * 32)
        given = Judgement(trigger, "surface", context, Verdict.OK, Reason.NONE, 0.1, 5)
        intake.answer(given)
        if n % 20:
            intake.settle([given])

    found = opened(path, epoch=7).recover()

    assert [each.context.version for each in found.answered] == [str(n) for n in range(0, 3 * ring.CONTEXTS, 20)]


def test_contexts_of_one_trigger_never_share_an_entry(path: Path):
    """
    When the table of contexts is full, the pipelines of a trigger still get entries of their own.
    """
    intake = opened(path)
    for n in range(ring.CONTEXTS):
        intake.settle([judged(intake.take((f"old-{n}",), 1, 2), f"old-{n}")])

    intake.take(("left", "right"), 1, 2)

    assert [each.pipeline for each in opened(path).recover().unanswered] == ["left", "right"]


def test_long_and_foreign_texts_are_cut_to_whole_characters(path: Path):
    """
    Whatever a source calls a part, its slot holds the beginning of it.
    """
    opened(path).take(("surface",), 1, 2, part="é" * 200, product="\ud800", lot="x" * 49)

    (found,) = opened(path).recover().unanswered

    assert (found.trigger.part, found.trigger.product, found.trigger.lot) == ("é" * 48, "?", "x" * 48)


@pytest.mark.parametrize("kills", [5, pytest.param(60, marks=pytest.mark.slow)])
def test_kill_9_leaves_one_verdict_for_each_trigger(tmp_path: Path, kills: int):
    """
    However often the process is killed: triggers = verdicts for each pipeline, none twice, and what the line heard is
    what is on record.
    """
    seed = time.time_ns() % 2**32
    chance = random.Random(seed)  # noqa: S311 (a failing seed is run again)
    for _ in range(kills):
        command = [sys.executable, str(Path(__file__).with_name("gateway_child.py")), str(tmp_path)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env={"PYTHONPATH": str(ROOT)})
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(chance.uniform(0.0, 0.4))
        child.kill()
        child.wait()
        child.stdout.close()
    clock = Clock()
    store = Store.open(tmp_path / "lineside.db", quota_bytes=64 << 20, clock=clock)
    outbox = Outbox(store, "press-1")
    intake = Intake.open(tmp_path / "intake.ring", boot=clock.time().boot)
    recovery.recover(store, outbox, intake, clock)

    with store.reading() as connection:
        rows = fetch(connection, "SELECT trigger, pipeline, verdict FROM verdict")
    taken = intake.recover().next_n - 1
    store.close()

    expected = {(n, name) for n in range(1, taken + 1) for name in ("surface", "engine")}
    assert {(n, name) for n, name, _ in rows} == expected, seed
    assert len(rows) == len(expected), seed
    recorded = {(n, name): verdict for n, name, verdict in rows}
    heard = [line.split() for line in (tmp_path / "line").read_text().splitlines()]
    assert len(heard) > kills
    assert all(recorded[int(n), name] == verdict for n, name, verdict in heard), seed
    assert sum(sum(counts.values()) for counts in outbox_totals(tmp_path).values()) == len(rows)


def outbox_totals(folder: Path) -> dict[str, dict[str, int]]:
    """The totals that the outbox keeps."""
    store = Store.open(folder / "lineside.db", quota_bytes=64 << 20, clock=Clock())
    totals = Outbox(store, "press-1").totals()
    store.close()
    return totals
