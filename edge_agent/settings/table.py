"""What every table of the gateway's TOML is made of: the base that refuses unknown keys, and its kinds of words."""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

Name: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
BrokerUrl: TypeAlias = Annotated[str, Meta(pattern=r"^mqtts?://[^/\s]+$")]
HttpUrl: TypeAlias = Annotated[str, Meta(pattern=r"^https?://[^/\s@]+(/\S*)?$")]
Topic: TypeAlias = Annotated[str, Meta(pattern=r"^[^\s$][^\s]*$", max_length=512)]
Host: TypeAlias = Annotated[str, Meta(pattern=r"^[\w.:-]+$")]
Word: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
Positive: TypeAlias = Annotated[float, Meta(gt=0, le=86_400)]


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every table: a key that is not listed is an error."""
