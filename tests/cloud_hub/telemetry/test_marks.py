"""What a gateway once said it had made is not forgotten with its disk."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from cloud_hub.telemetry.account import account
from cloud_hub.telemetry.marks import MAX_FORGOTTEN, remember
from edge_protocol.codes import Stream
from edge_protocol.messages import Gap, GatewayState, Place, StreamAccount, Time

VERDICTS = Stream.VERDICTS


def lose_the_disk(bench, made: int = 1000, sent: int = 899):
    """A gateway that made and told `made` verdicts, sent `sent`, and has a new database; the old and the new one."""
    key = bench.enrol("press-1")
    old = bench.gateway(key=key)
    old.judge(made)
    old.send(VERDICTS, 1, sent)
    old.send_state()
    bench.work()
    new = bench.gateway(client="new disk", key=key)
    new.epoch, new.run, new.now_us = 8, 2, old.now_us
    new.send_state()
    bench.work()
    return old, new


def books(bench):
    """The account of press-1."""
    with bench.database.reading() as connection:
        return account(connection, "press-1")


def test_what_was_on_a_lost_disk_is_lost(bench) -> None:
    """
    Numbers that a gateway told of and that went with its database are in the account: lost, and it says so.
    """
    lose_the_disk(bench)

    found = books(bench)

    assert (found.produced, found.archived, found.buffered, found.lost) == (1000, 899, 0, 101)
    assert not found.balanced


def test_the_loss_outlives_every_later_state(bench) -> None:
    """
    However often the new database speaks, what the old one had is not forgotten.
    """
    _, new = lose_the_disk(bench)

    for _ in range(3):
        new.judge(10)
        new.send_held()
        new.send_state()
        bench.work()

    found = books(bench)
    assert (found.produced, found.lost, found.balanced) == (1030, 101, False)


def test_what_arrives_after_all_is_not_lost(bench) -> None:
    """
    A message that was still on its way when the disk went closes the account.
    """
    old, new = lose_the_disk(bench)

    old.send(VERDICTS, 900, 101)
    bench.work()
    new.send_state()
    bench.work()

    found = books(bench)
    assert (found.produced, found.archived, found.lost, found.balanced) == (1000, 1000, 0, True)


def test_what_a_gap_declares_is_not_lost(bench) -> None:
    """
    The new database may declare what the old one had.
    """
    _, new = lose_the_disk(bench)

    new.record(Stream.EVENTS, Gap(epoch=7, stream=VERDICTS, first=900, last=1000, reason="salvage"))
    new.send_held()
    new.send_state()
    bench.work()

    found = books(bench)
    assert (found.archived, found.declared, found.lost, found.balanced) == (900, 101, 0, True)


def test_a_disk_restored_from_an_image_has_lost_what_came_later(bench) -> None:
    """
    In its old epoch too: what it once told of beyond the image, and the hub never got, is lost.
    """
    key = bench.enrol("press-1")
    gateway = bench.gateway(key=key)
    gateway.judge(100)
    gateway.send(VERDICTS, 1, 60)
    gateway.send_state()
    bench.work()
    restored = bench.gateway(client="restored", key=key)
    restored.judge(70)
    restored.run, restored.now_us = 2, gateway.now_us

    restored.send_state()
    bench.work()

    found = books(bench)
    assert (found.produced, found.archived, found.buffered, found.lost) == (100, 60, 10, 30)


lines = st.lists(
    st.builds(StreamAccount, st.integers(1, 4), st.sampled_from(["verdicts", "events"]), st.integers(0, 20)),
    unique_by=lambda line: (line.epoch, line.stream),
).map(tuple)


def state(streams: tuple[StreamAccount, ...]) -> GatewayState:
    """A state that speaks of these streams."""
    return GatewayState(
        gateway="press-1", agent_version="0.1.0", place=Place(), time=Time("boot", 1, 0, 0), sent_us=1, streams=streams
    )


@given(before=lines, after=lines)
def test_a_mark_never_falls(before: tuple[StreamAccount, ...], after: tuple[StreamAccount, ...]) -> None:
    """
    While the hub has nothing, every stream stands at the highest number that was ever told.
    """
    told = {(line.epoch, line.stream): line.produced for line in (*sorted(before + after, key=lambda n: n.produced),)}

    kept = remember(state(after), state(before), {})

    found = {(line.epoch, line.stream): line.produced for line in kept.streams}
    assert {key: n for key, n in told.items() if n} == {key: n for key, n in found.items() if n}


def test_what_is_settled_is_not_carried_along() -> None:
    """
    An older stream of which everything is here or declared, and a state that forgot nothing, cost nothing.
    """
    settled = StreamAccount(1, VERDICTS, 20, declared=((11, 20),))
    now = state((StreamAccount(2, VERDICTS, 5),))

    assert remember(now, state((settled,)), {(1, VERDICTS): ((1, 10),)}) is now
    assert remember(now, None, {}) is now


def test_a_gateway_that_changes_its_epoch_for_ever_fills_nothing() -> None:
    """
    What is remembered of lost disks has a bound, and the account stays out of balance.
    """
    kept = state(())
    for n in range(1, MAX_FORGOTTEN + 50):
        epoch = int.from_bytes(hashlib.sha256(bytes([n % 256, n // 256])).digest()[:3])
        kept = remember(state((StreamAccount(epoch, VERDICTS, 1),)), kept, {})

    assert len(kept.streams) == MAX_FORGOTTEN + 1
