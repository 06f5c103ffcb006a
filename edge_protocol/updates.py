"""The words both sides use of an update: its steps, its refusals, and what to do about each refusal.

A refusal's name stands in records, in the gateway's state, on the pages and in the terminal; names are never reused.
"""

from enum import StrEnum

from edge_protocol.errors import ProtocolError


class Step(StrEnum):
    """Where the update of one pipeline stands."""

    WANTED = "wanted"
    """Both repositories name it; its objects are being fetched."""
    STAGED = "staged"
    """Its files are on disk and verified; it proves itself in a child process."""
    PROBATION = "probation"
    """It judges; the model before it stays loaded."""
    KEPT = "kept"
    """It has proved itself on the line."""
    REFUSED = "refused"
    """It never judged a part."""
    RETURNED = "returned"
    """It judged, and the model before it was put back."""


class Refusal(StrEnum):
    """Why something is not run. One name, one meaning, one cure: `CURES`."""

    NOT_TRUSTED = "NotTrusted"
    NOT_AGREED = "NotAgreed"
    NOT_ADDRESSED = "NotAddressed"
    BELOW_FLOOR = "BelowFloor"
    STALE = "Stale"
    EXPIRED = "Expired"
    TAMPERED = "Tampered"
    INCOMPATIBLE = "Incompatible"
    SELF_TEST_FAILED = "SelfTestFailed"
    TOO_LARGE = "TooLarge"
    OUT_OF_SPACE = "OutOfSpace"
    UNSTABLE = "Unstable"
    OPERATOR = "Operator"


CURES = {
    Refusal.NOT_TRUSTED: "a signature is missing or is not by a key that the roots delegate to: find who sent it",
    Refusal.NOT_AGREED: "the director names what no publisher has signed: find who has the hub's online key",
    Refusal.NOT_ADDRESSED: "it is meant for another gateway: find who sent it here",
    Refusal.BELOW_FLOOR: "the publisher does not let this version run any more: roll out one at or above the floor",
    Refusal.STALE: "the metadata is older than what this gateway has seen: have the hub send its current set",
    Refusal.EXPIRED: "the metadata has expired: have the hub sign anew, and check the gateway's clock",
    Refusal.TAMPERED: "a file is not the one that was signed: publish the release again, and find who changed it",
    Refusal.INCOMPATIBLE: "this gateway cannot run it: make a bundle that fits, or update the agent",
    Refusal.SELF_TEST_FAILED: "the goldens come out differently here: compare the stage it names with the recipe",
    Refusal.TOO_LARGE: "it is above what this gateway may spend: make it smaller or raise the limit it names",
    Refusal.OUT_OF_SPACE: "make room on the gateway's disk; the update goes on by itself",
    Refusal.UNSTABLE: "it failed while it judged: read the detail, make a new release",
    Refusal.OPERATOR: "somebody at the gateway put the model before it back: ask why, then make a new release",
}

PASSING = frozenset({Refusal.STALE, Refusal.EXPIRED, Refusal.OUT_OF_SPACE})
"""These may be over later without a new release: the digest is not remembered as bad."""


class UpdateRefused(ProtocolError):
    """Something that is not run, and why: keep what runs, and say so."""

    def __init__(self, refusal: Refusal, detail: str) -> None:
        super().__init__(f"{refusal}: {detail}", CURES[refusal])
        self.refusal = refusal
        self.detail = detail
        self.retry = refusal in PASSING
