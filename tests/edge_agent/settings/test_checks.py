"""The laws of rows that are well formed and cannot be meant."""

from pathlib import Path

import pytest

from edge_agent import reference
from edge_agent.config import load
from edge_agent.errors import ConfigError

README = Path(reference.__file__).with_name("README.md")
GATEWAY = '[gateway]\nid = "press-1"\n'


def camera(url: str, more: str = "") -> str:
    """A camera's row."""
    return f'[[sources]]\nkind = "camera"\nname = "eye"\nurl = "{url}"\n{more}\n'


def mqtt(more: str, section: str = "sources", topic: str = "line/4", broker: str = "mqtt://127.0.0.1") -> str:
    """A row that listens to a broker."""
    return f'[[{section}]]\nkind = "mqtt"\nname = "ear"\nbroker = "{broker}"\ntopic = "{topic}"\n{more}\n'


def push(more: str) -> str:
    """A row that takes parts."""
    return f'[[sources]]\nkind = "push"\nname = "cell"\n{more}\n'


def recorded(path: str, more: str = "") -> str:
    """A recording's row."""
    return f'[[sources]]\nkind = "recorded"\nname = "run"\npath = "{path}"\nlength = 8\n{more}\n'


def webhook(url: str, more: str = "") -> str:
    """A row that posts verdicts."""
    return f'[[outputs]]\nkind = "http"\nname = "mes"\nurl = "{url}"\n{more}\n'


def two_triggers(source: str) -> str:
    """Two pipelines that look at a source at different times."""
    triggers = "".join(f'[[triggers]]\nkind = "timer"\nname = "{name}"\nrate_hz = 1\n' for name in ("fast", "slow"))
    pipelines = "".join(
        f'[[pipelines]]\nname = "{name}"\nbundle = "b"\nsource = "eye"\ntrigger = "{name}"\n'
        for name in ("fast", "slow")
    )
    return source + triggers + pipelines


WRONG = {
    "a secret in a URL": (camera("rtsp://bob:pw@10.0.0.9/s"), "'eye': its URL holds a user or a password"),
    "a user of a device": (camera("/dev/video0", 'user = "bob"'), "devices ask for no user"),
    "a password of nobody": (camera("rtsp://h/s", 'password_file = "p"'), "a password and no user"),
    "a format of a stream": (camera("rtsp://h/s", "width = 640"), "only a device is asked for a format"),
    "no such port": (camera("rtsp://h:99999/s"), "out of range"),
    "no URL": (camera("ftp://h/s"), "matching regex"),
    "two transports": (
        camera("rtsp://h/1") + camera("rtsp://h/2", 'transport = "udp"').replace("eye", "other"),
        "all cameras of a gateway have one `transport`",
    ),
    "one camera, two triggers": (two_triggers(camera("0")), "the triggers fast and slow would each open it"),
    "no filter": (mqtt("", topic="line/#/x"), "'ear': not a topic filter"),
    "no filter of a trigger": (mqtt("", "triggers", topic="line+"), "[[triggers]] 'ear': not a topic filter"),
    "floats without a length": (mqtt('payload = "float32"'), "do not say how many"),
    "a file of two channels": (mqtt('payload = "npy"\nchannels = ["x", "y"]'), "a .npy file is one channel"),
    "one name twice": (mqtt('channels = ["x", "x"]'), "two channels have the same name"),
    "no channel": (mqtt("channels = []"), "length >= 1"),
    "an authority without TLS": (mqtt('ca_file = "ca.pem"'), "without TLS there is no certificate"),
    "no such port of a broker": (mqtt("", broker="mqtt://h:99999"), "out of range"),
    "parts from anybody": (push('port = 1\nhost = "0.0.0.0"'), "whoever reaches 0.0.0.0 could send parts"),
    "an open door": ('[serving]\nhost = "0.0.0.0"\n', "[serving] host 0.0.0.0 is reached by other machines"),
    "the neighbours' port": ("[serving]\nport = 8100\n" + push("port = 8100"), "[serving] listens on port 8100"),
    "a body without end": (push("port = 1\nmax_mb = 1e6"), "<= 64"),
    "one port, two sources": (
        push("port = 8100") + push("port = 8100").replace("cell", "other"),
        "'cell' listens on port 8100",
    ),
    "no recording": (recorded("run.xlsx"), "neither .csv, .npz nor .npy"),
    "names that do not fit": (recorded("r.csv", 'columns = ["a", "b"]\nchannels = ["x"]'), "2 columns and 1 channels"),
    "times of an array": (recorded("r.npz", 'time_column = "t"'), "only a .csv has a column with times"),
    "a token in the open": (webhook("http://mes.example/", 'token_file = "t"'), "its token could be read on the way"),
    "a certificate in the open": (webhook("http://127.0.0.1/", 'ca_file = "c"'), "without TLS there is no certificate"),
    "a user in a URL": (webhook("https://bob@mes.example/"), "matching regex"),
}


@pytest.mark.parametrize(("rows", "problem"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_meant_is_refused_with_a_cure(rows: str, problem: str, tmp_path: Path) -> None:
    """The problem names the row and what is wrong with it; the cure says what to write."""
    path = tmp_path / "gateway.toml"
    path.write_text(GATEWAY + rows)

    with pytest.raises(ConfigError) as caught:
        load(path)

    assert problem in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    "rows",
    [
        camera("0", 'pixels = "MJPG"\nwidth = 1920'),
        camera("rtsps://cam.example:322/s?x=1", 'user = "bob"\npassword_file = "p"'),
        mqtt('payload = "float32"\nlength = 500'),
        mqtt('ca_file = "ca.pem"', broker="mqtts://h"),
        push('port = 0\nhost = "::1"'),
        '[serving]\nhost = "0.0.0.0"\ntoken_file = "t"\n',
        '[serving]\nhost = "::1"\nsocket = "ask.sock"\n' + push("port = 0"),
        push('port = 8100\nhost = "0.0.0.0"\ntoken_file = "t"'),
        webhook("http://127.0.0.1:8000/v", 'token_file = "t"'),
        webhook("https://mes.example/v?x=1", 'token_file = "t"\nca_file = "c"'),
    ],
)
def test_what_can_be_meant_is_taken(rows: str, tmp_path: Path) -> None:
    """Secrets by file, TLS where it is needed, open addresses with a token: none of it is refused."""
    path = tmp_path / "gateway.toml"
    path.write_text(GATEWAY + rows)

    assert load(path).gateway.id == "press-1"


def test_the_readme_shows_each_kind_as_it_can_be_written(tmp_path: Path) -> None:
    """Every example of edge_agent/README.md is taken as it stands, and no kind of row is left without one."""
    examples = README.read_text().split("```toml\n")[1:]
    shown: set[tuple[str, str]] = set()
    for n, example in enumerate(examples):
        path = tmp_path / f"{n}.toml"
        path.write_text(example.partition("```")[0])
        tables = load(path)
        for section in ("sources", "triggers", "outputs"):
            shown |= {(section, row.__struct_config__.tag) for row in getattr(tables, section)}

    wanted = {(section, kind) for section in ("sources", "triggers", "outputs") for kind in reference.kinds(section)}
    assert wanted - shown == set()
