"""The files of a metadata set, given to the updater as if over a network; a name that is not there is a 404."""

from collections.abc import Collection, Iterator, Mapping

from tuf.api.exceptions import DownloadHTTPError, DownloadLengthMismatchError, LengthOrHashMismatchError
from tuf.ngclient import FetcherInterface


class SetFetcher(FetcherInterface):
    """Answers from a dictionary, never from a network and never over a temporary file."""

    def __init__(self, files: Mapping[str, bytes], limits: Collection[int]) -> None:
        """`limits` are those of this gateway: any other is the length that was signed for a file."""
        self._files = files
        self._limits = limits

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """The file that `url` names. The inherited way leads over a file in $TMPDIR."""
        data = b"".join(self._fetch(url))
        if len(data) > max_length:
            name = url.rpartition("/")[2]
            if max_length in self._limits:
                message = f"{name} has {len(data)} bytes, at most {max_length} are taken"
                raise DownloadLengthMismatchError(message)
            message = f"{name} has {len(data)} bytes, signed were {max_length}"
            raise LengthOrHashMismatchError(message)
        return data

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url.rpartition("/")[2]
        if name not in self._files:
            message = f"the set has no {name[:80]}"
            raise DownloadHTTPError(message, 404)
        yield self._files[name]
