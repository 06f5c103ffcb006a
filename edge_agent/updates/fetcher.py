"""The files of a metadata set, given to the updater as if over a network; a name that is not there is a 404."""

from collections.abc import Iterator, Mapping

from tuf.api.exceptions import DownloadHTTPError, DownloadLengthMismatchError
from tuf.ngclient import FetcherInterface


class SetFetcher(FetcherInterface):
    """Answers from a dictionary, never from a network and never over a temporary file."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """The file that `url` names. The inherited way leads over a file in $TMPDIR."""
        data = b"".join(self._fetch(url))
        if len(data) > max_length:
            message = f"{url.rpartition('/')[2]} has {len(data)} bytes, at most {max_length} are taken"
            raise DownloadLengthMismatchError(message)
        return data

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url.rpartition("/")[2]
        if name not in self._files:
            message = f"the set has no {name[:80]}"
            raise DownloadHTTPError(message, 404)
        yield self._files[name]
