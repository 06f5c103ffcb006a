"""The kinds of values that stand in messages and records, each with the bounds that every reader may rely on."""

from typing import Annotated, TypeAlias

from msgspec import Meta

Natural: TypeAlias = Annotated[int, Meta(ge=0, le=2**62)]
"""A count, a number of a row or a time: it and a sum of two fit every database's integer."""

Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**40)]
"""A counter of one pane: a million of these still add up exactly."""

Finite: TypeAlias = Annotated[float, Meta(ge=-1e300, le=1e300)]
Text: TypeAlias = Annotated[str, Meta(pattern=r"\A[^\0]*\Z")]
"""Any text but one with U+0000, which PostgreSQL does not store."""

Name: TypeAlias = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9-]{0,39}\Z")]
"""A stream or a kind of record; these also stand in topics."""

GatewayId: TypeAlias = Annotated[str, Meta(pattern=r"\A[a-z0-9-]{1,40}\Z")]

Digest: TypeAlias = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
"""A SHA-256 in hex."""

Box: TypeAlias = tuple[Finite, Finite, Finite, Finite]
"""Left, top, right and bottom."""
