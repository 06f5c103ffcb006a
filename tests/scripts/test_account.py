import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_protocol import ranges
from edge_protocol.messages import StreamAccount
from scripts.day.account import Account, archived_of, draw_up

VERDICTS = (7, "verdicts")


def stream(produced: int, held: ranges.Ranges = (), declared: ranges.Ranges = ()) -> StreamAccount:
    """The gateway's word on its verdicts."""
    return StreamAccount(7, "verdicts", produced, held, declared)


@pytest.mark.parametrize(
    ("made", "archived", "expected"),
    [
        pytest.param(stream(10), ((1, 10),), (10, 10, 0, 0, 0), id="all has arrived"),
        pytest.param(stream(10, held=((4, 10),)), ((1, 3),), (10, 3, 7, 0, 0), id="the rest waits"),
        pytest.param(stream(10, held=((4, 10),)), ((1, 8),), (10, 8, 2, 0, 0), id="its receipts are under way"),
        pytest.param(stream(10), ((1, 14),), (10, 10, 0, 0, 0), id="more arrived after the gateway was asked"),
        pytest.param(stream(10, declared=((2, 3),)), ((1, 1), (4, 10)), (10, 8, 0, 2, 0), id="two are declared"),
        pytest.param(stream(10, declared=((2, 3),)), ((1, 10),), (10, 10, 0, 0, 0), id="declared, and here after all"),
        pytest.param(stream(10), ((1, 6), (8, 10)), (10, 9, 0, 0, 1), id="one is lost"),
        pytest.param(stream(10), (), (10, 0, 0, 0, 10), id="the hub knows nothing"),
        pytest.param(stream(0), (), (0, 0, 0, 0, 0), id="nothing was made"),
    ],
)
def test_every_record_counts_once(
    made: StreamAccount, archived: ranges.Ranges, expected: tuple[int, int, int, int, int]
) -> None:
    """A record is archived, or else declared, or else buffered, or else it is lost."""
    account = draw_up([made], {VERDICTS: archived})

    found = (account.produced, account.archived, account.buffered, account.declared, account.lost)
    assert found == expected


pairs = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), max_size=6).map(ranges.normal)


@given(produced=st.integers(0, 60), held=pairs, declared=pairs, archived=pairs)
def test_only_the_unaccounted_is_lost(
    produced: int, held: ranges.Ranges, declared: ranges.Ranges, archived: ranges.Ranges
) -> None:
    """What is lost is exactly what was produced and stands in none of the three books."""
    known = {n for book in (held, declared, archived) for first, last in book for n in range(first, last + 1)}

    account = draw_up([stream(produced, held, declared)], {VERDICTS: archived})

    assert account.lost == len(set(range(1, produced + 1)) - known)


def test_accounts_add_up() -> None:
    """The account of a fleet is the sum of its gateways' accounts."""
    left = Account(produced=5, archived=3, buffered=1, declared=1)
    right = Account(produced=7, archived=6, buffered=0, declared=0)

    total = sum([left, right], Account())

    assert (total.produced, total.archived, total.buffered, total.declared, total.lost) == (12, 9, 1, 1, 1)


def test_streams_are_kept_apart() -> None:
    """What the hub has of one stream says nothing of another."""
    line = {"epoch": 7, "stream": "events", "have": [[1, 10]]}

    account = draw_up([stream(10)], archived_of([line]))

    assert account.lost == 10
