import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from edge_agent.cli.main import main


@dataclass(frozen=True)
class Said:
    """What a command has said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it has said as JSON."""
        return json.loads(self.out)


Say = Callable[..., Said]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """`edge-agent` with these arguments, in this process and with its output in a pipe."""

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        found = capsys.readouterr()
        return Said(int(ended.value.code or 0), found.out, found.err)

    return call
