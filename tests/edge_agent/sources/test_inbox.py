"""The laws of what waits between two threads of a source."""

import numpy as np

from edge_agent.sample import Channel, Sample
from edge_agent.sources.inbox import MAX_BYTES, Inbox
from edge_agent.sources.payload import MAX_NUMBERS, Form, read
from edge_protocol.codes import Reason


def sample(share: float) -> Sample:
    """A picture that takes this share of what may wait; its pages are never touched."""
    return Sample({"image": Channel(np.empty(round(share * MAX_BYTES), np.uint8), 0)})


def test_what_waits_is_bounded_in_bytes() -> None:
    """A queue of many long messages holds as many as memory may, the newest; what it pushed out is counted."""
    inbox: Inbox[Sample] = Inbox(1000, size_bytes=lambda each: each.size_bytes)
    sent = [sample(0.4) for _ in range(5)]
    for each in sent:
        inbox.put(each)

    assert inbox.settle(10) == 3
    assert [inbox.take(), inbox.take(), inbox.take()] == [*sent[3:], None]
    inbox.put(sent[0])
    inbox.put(sent[1])
    assert inbox.settle(10) == 0


def test_one_that_is_larger_than_all_that_may_wait_still_comes() -> None:
    """It takes the place of the others, and has its turn."""
    inbox: Inbox[Sample] = Inbox(1000, size_bytes=lambda each: each.size_bytes)
    large = sample(1.5)
    inbox.put(sample(0.1))
    inbox.put(large)

    assert (inbox.settle(10), inbox.take()) == (1, large)


def test_a_list_without_end_is_refused_before_it_is_read() -> None:
    """Numbers in a text take a multiple of its memory while they are read: no more than the longest window has."""
    text = b'{"signal": [' + b"0," * MAX_NUMBERS + b"0]}"

    found = read("json", text, Form(("signal",), 0), 0)

    assert (found.fault, f"more than {MAX_NUMBERS}" in found.detail) == (Reason.WRONG_SHAPE, True)
