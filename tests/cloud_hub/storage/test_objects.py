"""Bytes by their digest."""

import hashlib
from pathlib import Path

import pytest

from cloud_hub.errors import StorageError
from cloud_hub.storage.objects import Objects


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    """A store in a folder that is not there yet."""
    return Objects.open(tmp_path / "a" / "objects")


@pytest.mark.parametrize("content", [b"", b"x", bytes(1_000_000)])
def test_what_is_put_is_what_is_got(objects: Objects, content: bytes) -> None:
    """
    The digest is the SHA-256 of the bytes, and leads back to them.
    """
    digest = objects.put(content)

    assert digest == hashlib.sha256(content).hexdigest()
    assert objects.get(digest) == content


def test_put_twice_is_put_once(objects: Objects) -> None:
    """
    The same bytes again are the same object.
    """
    assert objects.put(b"same") == objects.put(b"same")


def test_an_object_that_is_not_there_is_named_with_its_cure(objects: Objects) -> None:
    """
    A miss is an error that says how to put the object back.
    """
    with pytest.raises(StorageError) as caught:
        objects.get("ab" * 32)

    assert "bundle add" in caught.value.hint
    assert not objects.has("ab" * 32)


def test_bytes_that_were_changed_are_not_given_out(objects: Objects, tmp_path: Path) -> None:
    """
    A store is a carrier: what it returns is hashed again.
    """
    digest = objects.put(b"good")
    (tmp_path / "a" / "objects" / digest[:2] / digest).write_bytes(b"evil")

    with pytest.raises(StorageError, match="other bytes"):
        objects.get(digest)

    objects.put(b"good")
    assert objects.get(digest) == b"good"


def test_a_folder_that_cannot_be_made_is_named() -> None:
    """
    A wrong place is one sentence with a cure.
    """
    with pytest.raises(StorageError) as caught:
        Objects.open("/proc/nowhere")

    assert caught.value.hint
