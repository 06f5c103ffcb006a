"""Dear answers are made once, kept for a while, and never hold more than their share of time or memory."""

import threading

import pytest

from cloud_hub.web.memo import REST, Memo

PATIENCE_S = 20


class Stopwatch:
    """Monotonic time that moves when told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Now, in seconds."""
        return self.now_s


@pytest.fixture
def watch() -> Stopwatch:
    """Time of the test's own."""
    return Stopwatch()


def test_an_answer_is_kept_while_it_is_fresh(watch: Stopwatch) -> None:
    """Asked again too soon, the first answer stands; asked later, a new one is made."""
    memo = Memo(watch)

    answers = []
    for at_s in (0, 1.9, 2, 3, 4):
        watch.now_s = at_s
        answers.append(memo.get("key", 2, lambda now=at_s: now))

    assert answers == [0, 0, 2, 2, 4]


def test_a_dear_answer_is_kept_longer(watch: Stopwatch) -> None:
    """However slow the database is, making one answer again and again takes no more than a tenth of the time."""
    memo, made = Memo(watch), []

    def slow() -> int:
        watch.now_s += 3
        made.append(watch.now_s)
        return len(made)

    while watch.now_s < 300:
        memo.get("key", 1, slow)
        watch.now_s += 0.5

    assert len(made) * 3 <= 300 / (REST + 1) + 3


def test_answers_do_not_pile_up(watch: Stopwatch) -> None:
    """However many keys are asked for, a bounded number of answers is kept, those asked for last."""
    memo, made = Memo(watch, size=3), []
    for key in (1, 2, 3, 1, 4, 1, 2):
        memo.get(key, 100, lambda key=key: made.append(key))

    assert len(memo) == 3
    assert made == [1, 2, 3, 4, 2]


def test_an_answer_that_failed_is_asked_for_again(watch: Stopwatch) -> None:
    """What was raised is not remembered."""
    memo = Memo(watch)

    with pytest.raises(ZeroDivisionError):
        memo.get("key", 100, lambda: 1 // 0)

    assert memo.get("key", 100, lambda: 7) == 7


def test_who_asks_at_the_same_time_waits_for_the_same_answer(watch: Stopwatch) -> None:
    """Two pages that ask at once cause one look at the database; another question is not held up by it."""
    memo, asked, go = Memo(watch), threading.Event(), threading.Event()
    made: list[int] = []

    def slow() -> int:
        asked.set()
        assert go.wait(PATIENCE_S)
        made.append(1)
        return 7

    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(memo.get("key", 100, slow))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert asked.wait(PATIENCE_S)
    other = memo.get("other", 100, lambda: 8)
    go.set()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert (answers, made, other) == ([7, 7, 7], [1], 8)
