"""Where a broker is and how to speak to it: a URL and TLS files go in, host, port and a TLS context come out.

Everything that can be wrong with them is said here, before anything connects.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from edge_protocol.errors import LinkError

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_URL_HINT = "write it as mqtt://host:1883, or mqtts://host:8883 for TLS"

_TLS_HINT = "give readable PEM files; the key must be unencrypted and belong to the certificate"


@dataclass(frozen=True, slots=True)
class Tls:
    """The files of a TLS connection: whom to trust (the system's authorities if None) and who we are."""

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A broker's address, with the context to use when the connection is encrypted."""

    host: str
    port: int
    context: ssl.SSLContext | None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def endpoint(url: str, tls: Tls | None = None) -> Endpoint:
    """The endpoint of `mqtt://host[:port]` or `mqtts://host[:port]`.

    Raises:
        LinkError: another kind of URL, TLS files without TLS, or a TLS file that cannot be used.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        idna = (host or "").encode("idna")
    except ValueError as error:
        message = f"not a broker's URL: {url!r} ({error})"
        raise LinkError(message, _URL_HINT) from error
    if parts.scheme not in _PORTS or not host or not idna or port == 0 or "@" in parts.netloc or parts.path.strip("/"):
        message = f"not a broker's URL: {url!r}"
        raise LinkError(message, _URL_HINT)
    if parts.scheme == "mqtt" and tls is not None:
        message = f"TLS files are given and {url!r} is a connection without TLS"
        raise LinkError(message, _URL_HINT)
    context = _context(tls or Tls()) if parts.scheme == "mqtts" else None
    return Endpoint(host, port or _PORTS[parts.scheme], context)


def _context(tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if tls.certificate_file is not None:
            # A password callback instead of none: OpenSSL would otherwise ask on the terminal.
            context.load_cert_chain(tls.certificate_file, tls.key_file, password=lambda: b"")
    except (OSError, ValueError) as error:
        files = ", ".join(str(file) for file in (tls.ca_file, tls.certificate_file, tls.key_file) if file)
        message = f"a TLS file cannot be used ({files}): {error}"
        raise LinkError(message, _TLS_HINT) from error
    return context
