import threading

import pytest

from edge_agent.serving.refusal import Refusal
from edge_agent.serving.turnstile import Turnstile
from tests.gateways import until


def test_turns_are_given_in_the_order_of_asking() -> None:
    """Nobody who comes later overtakes, and there is never more than one inside."""
    turnstile = Turnstile(30)
    order: list[int] = []
    inside: list[int] = []
    together: list[int] = []

    def ask(n: int) -> None:
        with turnstile.turn():
            inside.append(n)
            order.append(n)
            together.append(len(inside))
            inside.remove(n)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    with turnstile.turn():
        for n, thread in enumerate(threads):
            thread.start()
            until("the next in the row", lambda n=n: len(turnstile._waiting) == n + 1)
    for thread in threads:
        thread.join(30)

    assert order == list(range(8))
    assert together == [1] * 8


def test_who_gave_up_is_not_waited_for() -> None:
    """After a refusal, and after an error inside, the next one has its turn."""
    turnstile = Turnstile(0.01)

    with turnstile.turn(), pytest.raises(Refusal, match="neighbours") as caught, turnstile.turn():
        pass
    with pytest.raises(ZeroDivisionError), turnstile.turn():
        1 / 0  # noqa: B018 (it is the error that counts)
    with turnstile.turn():
        again = True

    assert caught.value.status == 503
    assert ("Retry-After", "1") in caught.value.headers
    assert again


def test_a_crowd_loses_no_turn() -> None:
    """Many that wait briefly and give up leave the gate as it was."""
    turnstile = Turnstile(0.001)
    counts = {"in": 0, "out": 0}
    lock = threading.Lock()

    def ask() -> None:
        for _ in range(50):
            try:
                with turnstile.turn(), lock:
                    counts["in"] += 1
            except Refusal:
                with lock:
                    counts["out"] += 1

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert counts["in"] + counts["out"] == 400
    assert not turnstile._is_taken
    assert not turnstile._waiting


class Meddler:
    """A lock that hands the turn on just before who gave up takes it for the second time."""

    def __init__(self, turnstile: Turnstile) -> None:
        self._turnstile = turnstile
        self._entries = 0

    def __enter__(self) -> None:
        self._entries += 1
        if self._entries == 2:
            self._turnstile._waiting.popleft().release()

    def __exit__(self, *_: object) -> None:
        pass


def test_a_turn_that_comes_as_one_gives_up_is_taken() -> None:
    """It was given: refusing it would leave the gate shut for ever."""
    turnstile = Turnstile(0)
    turnstile._is_taken = True
    turnstile._lock = Meddler(turnstile)  # type: ignore[assignment]

    with turnstile.turn():
        inside = turnstile._is_taken

    assert inside
    assert not turnstile._is_taken
