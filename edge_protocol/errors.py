"""What can go wrong on the wire, named by what the receiver should do next.

    ProtocolError
    ├── DecodeError       count it, drop the message, keep the connection
    ├── SignatureError    refuse it and report who claimed to have sent it
    ├── ManifestError     refuse the bundle; the message names the field and the cure
    ├── EdgesMismatch     refuse to merge: the counters were made on other edges
    └── LinkError         try again later

A class says what to do next, never where it happened.
"""


class ProtocolError(Exception):
    """Base of everything this package raises. `retry` tells whether the same call may succeed later."""

    retry = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class DecodeError(ProtocolError):
    """Bytes that are not a message of the expected kind: truncated, oversized or hostile."""


class SignatureError(ProtocolError):
    """A signature that does not verify, or a key that is not known."""


class ManifestError(ProtocolError):
    """A bundle whose manifest or files break a rule."""


class EdgesMismatch(ProtocolError):
    """Counters that were made on other edges and so cannot be combined."""


class LinkError(ProtocolError):
    """The link cannot carry a message now."""

    retry = True
