"""A broker's URL and TLS files are judged before anything connects."""

import pytest

from edge_protocol.endpoint import Tls, endpoint
from edge_protocol.errors import LinkError
from edge_protocol.mqtt import MqttLink


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("mqtt://127.0.0.1:1884", "127.0.0.1", 1884),
        ("mqtt://broker.local", "broker.local", 1883),
        ("mqtts://broker.local", "broker.local", 8883),
        ("mqtt://[::1]:99/", "::1", 99),
    ],
)
def test_a_url_gives_host_and_port(url, host, port):
    """The port may be left out; `mqtts` alone brings a TLS context."""
    found = endpoint(url)

    assert (found.host, found.port) == (host, port)
    assert (found.context is not None) == url.startswith("mqtts")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:1883",
        "http://127.0.0.1",
        "mqtt://",
        "mqtt://host:0",
        "mqtt://host:70000",
        "mqtt://host:port",
        "mqtt://name:word@host",
        "mqtt://host/path",
        "mqtt://[::1",
        "mqtt://" + "x" * 70,
        "mqtt://a..b",
    ],
)
def test_a_bad_url_is_refused_with_a_hint(url):
    """What is not a broker's URL is an error that says how to write one."""
    with pytest.raises(LinkError) as caught:
        MqttLink(url, "gw-1")

    assert "mqtt://" in caught.value.hint


def test_tls_files_without_tls_are_refused(tmp_path):
    """Files that would silently not be used are an error."""
    with pytest.raises(LinkError, match="without TLS"):
        endpoint("mqtt://host", Tls(ca_file=tmp_path / "ca.pem"))


@pytest.mark.parametrize("field", ["ca_file", "certificate_file"])
@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n"])
def test_an_unusable_tls_file_is_named(tmp_path, field, content):
    """A TLS file that is missing, empty or no PEM is an error that names the file."""
    path = tmp_path / "file.pem"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(LinkError, match=r"file\.pem") as caught:
        endpoint("mqtts://host", Tls(**{field: path}))

    assert caught.value.hint
