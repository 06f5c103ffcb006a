"""The routes that `cloud-hub publish` speaks to: what is signed, what is missing, uploads by digest, handing in.

An upload is hashed while it comes and kept only as a whole; nothing of it is known to the fleet until a publisher's
signature names it. Bytes without a signature stay unreferenced.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from cloud_hub.access.audit import Actor
from cloud_hub.context import HubContext
from cloud_hub.errors import CatalogueError, StorageError
from cloud_hub.storage.objects import Objects
from cloud_hub.updates import catalogue, ceremony, releases, repository, signing
from cloud_hub.web.api import to_json
from edge_protocol import metadata

INCOMING = "incoming"
MAX_QUESTION_BYTES = 2 * 1024 * 1024

_DIGEST = re.compile(r"[0-9a-f]{64}")

Said = Annotated[str, Query(max_length=200)]

router = APIRouter(prefix="/api", include_in_schema=False)
"""Not described: these are for the `cloud-hub` of the same version."""


@router.get("/models/metadata")
def current(request: Request) -> Response:
    """The signed files of `models` as one set; an empty set while updates are off."""
    hub: HubContext = request.app.state.hub
    with hub.database.reading() as connection:
        files = repository.files(connection, repository.MODELS)
    return Response(metadata.pack(files), media_type="application/octet-stream")


@router.get("/models/releases")
def known(request: Request) -> Response:
    """Every release of the catalogue."""
    hub: HubContext = request.app.state.hub
    with hub.database.reading() as connection:
        return to_json(catalogue.releases(connection))


@router.post("/objects/missing")
async def missing(request: Request) -> Response:
    """Those of the digests in the body that are not in the object store."""
    raw = await _body(request, MAX_QUESTION_BYTES)
    try:
        digests = msgspec.json.decode(raw, type=list[str])
    except msgspec.MsgspecError as error:
        message = f"not a list of digests: {error}"
        raise CatalogueError(message, "publish with the cloud-hub of this hub's version") from error
    store = _objects(request)
    return to_json(await run_in_threadpool(lambda: [each for each in digests if not store.has(_checked(each))]))


@router.put("/objects/{digest}")
async def upload(digest: str, request: Request) -> Response:
    """Keep the body, if it has this digest."""
    hub: HubContext = request.app.state.hub
    folder = hub.config.folder / INCOMING
    try:
        folder.mkdir(exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder)
    except OSError as error:
        message = f"{folder} cannot be written: {error.strerror}"
        raise StorageError(message, "give the hub's user the rights to its folder, and some space") from error
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            received = await _receive(request, file)
        if received != _checked(digest):
            message = f"the bytes that came are {received[:12]}, not {digest[:12]}"
            raise CatalogueError(message, "publish again; if it stays so, something on the way changes them")
        await run_in_threadpool(_objects(request).put_file, path, digest)
    finally:
        await run_in_threadpool(path.unlink, missing_ok=True)
    return to_json({"digest": digest})


@router.put("/publishers/{name}/metadata")
async def hand_in(name: str, request: Request, actor: Said = "", reason: Said = "") -> Response:
    """Take the next metadata of a publisher, in one transaction."""
    hub: HubContext = request.app.state.hub
    raw = await _body(request, signing.MAX_METADATA_BYTES)
    doer = Actor(actor or f"publisher {name}", reason, hub.config.settings.hub.tenant)
    return to_json(await run_in_threadpool(_accept, hub, _objects(request), name, raw, doer))


def _accept(hub: HubContext, objects: Objects, name: str, raw: bytes, actor: Actor) -> releases.Accepted:
    with hub.database.writing() as connection:
        signer = ceremony.need_online_key(connection, hub.config.folder)
        now_us = hub.clock.wall_us()
        return releases.accept(connection, objects, signer, name, raw, actor=actor, now_us=now_us)


async def _receive(request: Request, file: BinaryIO) -> str:
    digest = hashlib.sha256()
    async for piece in _pieces(request, releases.MAX_FILE_BYTES):
        digest.update(piece)
        try:
            file.write(piece)
        except OSError as error:
            message = f"an upload cannot be kept: {error.strerror}"
            raise StorageError(message, "free some space on the hub's disk") from error
    return digest.hexdigest()


async def _body(request: Request, limit: int) -> bytes:
    return b"".join([piece async for piece in _pieces(request, limit)])


async def _pieces(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body as it comes, up to a limit."""
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            message = f"more than {limit} bytes came, which is the limit"
            raise CatalogueError(message, "make the file smaller")
        yield piece


def _objects(request: Request) -> Objects:
    hub: HubContext = request.app.state.hub
    return Objects.open(hub.config.objects)


def _checked(digest: str) -> str:
    if _DIGEST.fullmatch(digest) is None:
        message = f"{digest[:80]!r} is not a SHA-256 in hex"
        raise CatalogueError(message, "publish with the cloud-hub of this hub's version")
    return digest
