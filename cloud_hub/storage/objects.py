"""Bytes by their SHA-256: a folder by default, S3 and its kin by URL. The only file that imports obstore."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from cloud_hub.errors import StorageError

_MISSING = (NotFoundError, FileNotFoundError)
"""What a store elsewhere and a folder say of an object they do not have."""


class Objects:
    """Where files lie by digest. What is read back is hashed again: a store is a carrier like any other."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @classmethod
    def open(cls, where: str | Path) -> "Objects":
        """The store in a folder, which is made, or at a URL such as `s3://bucket/prefix`.

        Raises:
            StorageError: the folder cannot be made, or the URL is not understood.
        """
        try:
            if isinstance(where, str) and "://" in where:
                return cls(from_url(where))
            return cls(LocalStore(Path(where), mkdir=True))
        except (BaseError, OSError, ValueError) as error:
            message = f"the object store {where} does not open: {_first_line(error)}"
            raise StorageError(message, "check [storage] objects in hub.toml and the folder's rights") from error

    def put(self, content: bytes) -> str:
        """Keep `content` and return its digest in hex. Keeping it twice is keeping it once.

        Raises:
            StorageError: the store has no room or does not answer.
        """
        digest = hashlib.sha256(content).hexdigest()
        with _keeping(digest):
            obstore.put(self._store, _path(digest), content)
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes with this digest.

        Raises:
            StorageError: they are not there, or are other bytes by now.
        """
        try:
            content = bytes(obstore.get(self._store, _path(digest)).bytes())
        except _MISSING as error:
            message = f"object {digest[:12]} is not in the object store"
            raise StorageError(message, "add its bundle again: cloud-hub bundle add FOLDER") from error
        except (BaseError, OSError) as error:
            message = f"object {digest[:12]} cannot be read: {_first_line(error)}"
            raise StorageError(message, "check that the object store can be reached") from error
        if hashlib.sha256(content).hexdigest() != digest:
            message = f"object {digest[:12]} has other bytes than its name says"
            raise StorageError(message, "the store is damaged: add its bundle again with cloud-hub bundle add FOLDER")
        return content

    def put_file(self, path: Path, digest: str) -> None:
        """Keep a file whose bytes were seen to have this digest, without reading it into memory.

        Raises:
            StorageError: the store has no room or does not answer.
        """
        with _keeping(digest), path.open("rb") as content:
            obstore.put(self._store, _path(digest), content)

    def part(self, digest: str, offset: int, length: int) -> bytes:
        """Some bytes of an object, fewer at its end; whoever puts them together checks the digest of the whole.

        Raises:
            StorageError: it is not there, or has no such bytes.
        """
        try:
            return bytes(obstore.get_range(self._store, _path(digest), start=offset, length=length))
        except (*_MISSING, BaseError, OSError, ValueError) as error:
            message = f"object {digest[:12]} cannot be read: {_first_line(error)}"
            raise StorageError(message, "publish its bundle again: cloud-hub publish DIR --key FILE") from error

    def length(self, digest: str) -> int | None:
        """How many bytes lie there under this digest; None when nothing does."""
        try:
            return int(obstore.head(self._store, _path(digest))["size"])
        except _MISSING:
            return None
        except (BaseError, OSError) as error:
            message = f"the object store does not answer: {_first_line(error)}"
            raise StorageError(message, "check that it can be reached") from error

    def has(self, digest: str) -> bool:
        """Whether something lies there under this digest."""
        return self.length(digest) is not None


@contextmanager
def _keeping(digest: str) -> Iterator[None]:
    try:
        yield
    except AlreadyExistsError:
        pass
    except (BaseError, OSError) as error:
        message = f"object {digest[:12]} cannot be kept: {_first_line(error)}"
        raise StorageError(message, "free some space and check the rights of the object store") from error


def _path(digest: str) -> str:
    return f"{digest[:2]}/{digest}"


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
