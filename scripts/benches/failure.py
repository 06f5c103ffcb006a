"""What a bench says when it cannot measure: one line with the cause, one with what to do."""


class BenchError(Exception):
    """A figure cannot be measured here and now."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
