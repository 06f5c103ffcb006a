"""A metadata set: all signed files of one TUF repository as one message, inline or, when large, by digest.

Carries and never trusts: whoever opens a set gets bytes by name and lets the updater of the repository judge them.
Every carrier takes the same bytes: a retained MQTT message, an HTTP answer, a file on a stick.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated

import msgspec
import zstandard
from msgspec import Meta

from edge_protocol.errors import DecodeError
from edge_protocol.messages import MAX_MESSAGE_BYTES, Digest, Message, decode, encode

MODELS = "models"
"""The repository of the publishers: what may exist, and the floors."""

DIRECTOR = "director"
"""The repository of one gateway: what each of its pipelines should run."""

MARK = "x-repository"
"""The field of a signed part that says to which repository it belongs: the same keys sign roles of both."""

MAX_SET_BYTES = 16 * 1024 * 1024
MAX_FILES = 4096
_INLINE_BYTES = MAX_MESSAGE_BYTES - 1024
_LEVEL = 12
_FILE = re.compile(r"(?:\d{1,9}\.)?[a-z0-9][a-z0-9._-]{0,63}\.json")


class Carried(Message, frozen=True, kw_only=True):
    """`down/desired` and `fleet/models`: a set inline in `body`, or where it lies: an object to want."""

    body: bytes = b""
    sha256: Digest | None = None
    length: Annotated[int, Meta(ge=0, le=MAX_SET_BYTES)] = 0


def mark(repository: str, role: str, gateway: str) -> str:
    """What `MARK` says in the signed part of `role`: root, timestamp, snapshot or targets. Others need none.

    Without it a root of the director would pass for one of the publishers, and give the online key what is theirs.
    """
    return repository if repository == MODELS or role == "root" else f"{repository}/{gateway}"


def pack(files: Mapping[str, bytes]) -> bytes:
    """The set as bytes: the same files give the same bytes."""
    return zstandard.compress(msgspec.msgpack.encode(dict(sorted(files.items()))), _LEVEL)


def unpack(body: bytes) -> dict[str, bytes]:
    """The files of a set by name, as `3.root.json` or `timestamp.json`.

    Raises:
        DecodeError: not a set, too large, or with a name that no repository gives.
    """
    try:
        size = zstandard.frame_content_size(body)
        if not 0 <= size <= MAX_SET_BYTES:
            message = f"a metadata set of {size} bytes, at most {MAX_SET_BYTES} are taken"
            raise DecodeError(message)
        raw = zstandard.ZstdDecompressor().decompress(body, max_output_size=MAX_SET_BYTES, allow_extra_data=False)
        if _count(raw) > MAX_FILES:
            message = f"a metadata set holds at most {MAX_FILES} files"
            raise DecodeError(message)
        files = msgspec.msgpack.decode(raw, type=dict[str, bytes])
    except (zstandard.ZstdError, msgspec.MsgspecError, RecursionError, ValueError, TypeError) as error:
        message = f"not a metadata set: {error}"
        raise DecodeError(message) from error
    if not all(map(_FILE.fullmatch, files)):
        message = "a metadata set holds files that no repository has"
        raise DecodeError(message)
    return files


def carry(body: bytes) -> bytes:
    """The message that carries a packed set: inline where it fits, else its digest; then the set is an object."""
    if len(body) <= _INLINE_BYTES:
        return encode(Carried(body=body))
    return encode(Carried(sha256=hashlib.sha256(body).hexdigest(), length=len(body)))


def carried(payload: bytes) -> Carried:
    """What the message carries.

    Raises:
        DecodeError: not such a message.
    """
    message = decode(Carried, payload)
    if bool(message.body) == bool(message.sha256) or (message.sha256 and not message.length):
        problem = "a metadata message holds a set or its digest"
        raise DecodeError(problem)
    return message


def _count(raw: bytes) -> int:
    """How many entries a MessagePack map announces: a million tiny ones would take more memory than their bytes."""
    wide = {0xDE: 2, 0xDF: 4}.get(raw[0], 0) if raw else 0
    return int.from_bytes(raw[1 : 1 + wide]) if wide else 0
