"""What can go wrong on the gateway, named by what the caller should do next.

    AgentError           say message and hint: exit 2, it could not be done
    ├── RunError         a part of the running agent ended by itself: exit 1, start it again
    ├── ConfigError      the operator must change the configuration or a file it names; nothing was touched
    ├── IdentityError    a key, certificate or list of hub keys is missing or wrong
    ├── StoreError       the database cannot be written: stop, a restart salvages it
    ├── SourceError      the source is away: its triggers become UNINSPECTED, open it again later (retry)
    ├── InferenceError   this sample cannot be judged: UNINSPECTED with `reason`; at load, the bundle is refused
    ├── OutputError      the line was not told: record the failed outcome, try again with the next verdict (retry)
    └── UplinkError      the hub is out of reach: keep the records, try again later (retry)

A class says what to do next, never where it happened.
"""

from edge_protocol.codes import Reason


class AgentError(Exception):
    """Base of everything this package raises.

    `hint` is the cure, printed as a second line. `retry` tells whether the same call may succeed later by itself;
    `exit_code` is what the CLI ends with.
    """

    retry = False
    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def told(self) -> str:
        """What is wrong and the cure, in one line."""
        return f"{self} ({self.hint})" if self.hint else str(self)


class RunError(AgentError):
    """The agent ran, and a part of it ended by itself. What restarts it loses nothing."""

    exit_code = 1


class ConfigError(AgentError):
    """The configuration, or something it names, is not as it must be."""


class IdentityError(AgentError):
    """A key, a certificate or the list of hub keys is missing, unreadable or does not fit."""


class StoreError(AgentError):
    """The gateway's database cannot be opened, read or written."""


class SourceError(AgentError):
    """A source cannot be opened or has gone away."""

    retry = True


class InferenceError(AgentError):
    """A sample that cannot be judged, or a bundle that cannot be loaded; `reason` is what the verdict will say."""

    def __init__(self, message: str, hint: str = "", reason: Reason = Reason.ENGINE_FAULT) -> None:
        super().__init__(message, hint)
        self.reason = reason


class OutputError(AgentError):
    """An output cannot be opened."""

    retry = True


class UplinkError(AgentError):
    """The hub cannot be reached or does not answer as it should."""

    retry = True
