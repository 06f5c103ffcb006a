"""Bytes that are written come in, whether more may be written goes out: a disk lasts longer than a bad shift."""


class Allowance:
    """A whole budget at once, and then as much again in every `refill_s`. Times are monotonic microseconds."""

    def __init__(self, budget_bytes: int, refill_s: float) -> None:
        self._budget_bytes = budget_bytes
        self._per_us = budget_bytes / (refill_s * 1e6)
        self._left_bytes = float(budget_bytes)
        self._at_us: int | None = None

    def is_left(self, now_us: int) -> bool:
        """Whether anything may be written."""
        if self._at_us is not None:
            self._left_bytes += self._per_us * (now_us - self._at_us)
        self._left_bytes, self._at_us = min(self._left_bytes, self._budget_bytes), now_us
        return self._left_bytes > 0

    def spend(self, written_bytes: int) -> None:
        """What was written; it may be more than was left, and is then waited for."""
        self._left_bytes -= written_bytes
