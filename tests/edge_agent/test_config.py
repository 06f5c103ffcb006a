"""The laws of the gateway's configuration."""

from pathlib import Path

import pytest

from edge_agent import reference
from edge_agent.config import Config, load
from edge_agent.errors import ConfigError
from edge_agent.settings import FolderSource, MqttOutput, SourceTrigger

README = Path(reference.__file__).with_name("README.md")
SMALLEST = '[gateway]\nid = "press-1"\n'
WHOLE = """
schema = 1
data_dir = "data"

[gateway]
id = "press-1"
site = "Ulm"
timezone = "Europe/Berlin"
labels = { shift = "early" }

[hub]
broker = "mqtt://127.0.0.1:1883"

[[sources]]
kind = "folder"
name = "camera"
path = "pictures"

[[triggers]]
kind = "source"
name = "part"
source = "camera"

[[pipelines]]
name = "surface"
bundle = "surface-anomaly"
source = "camera"
trigger = "part"
outputs = ["plc"]
guard = { frozen_after = 0 }

[[pipelines]]
name = "second"
bundle = "surface-anomaly"
source = "camera"
trigger = "part"

[[outputs]]
kind = "mqtt"
name = "plc"
broker = "mqtt://127.0.0.1:1884"
after_commit = true
"""


def write(folder: Path, text: str) -> Path:
    """The configuration file `text` in `folder`."""
    path = folder / "gateway.toml"
    path.write_text(text)
    return path


def refused(folder: Path, text: str) -> ConfigError:
    """The error that `text` is refused with: two lines, exit 2."""
    with pytest.raises(ConfigError) as caught:
        load(write(folder, text))
    assert caught.value.exit_code == 2
    assert "\n" not in f"{caught.value}{caught.value.hint}"
    return caught.value


def test_a_gateway_needs_nothing_but_its_id(tmp_path: Path) -> None:
    """Every key but the gateway's id has a default or stands in a table that may be left out."""
    path = write(tmp_path, SMALLEST)

    config = load(path)

    assert config.gateway.id == "press-1"
    assert config.hub is None
    assert config.serving.host == "127.0.0.1"


def test_the_tables_say_what_they_are_by_kind(tmp_path: Path) -> None:
    """A row of a named table becomes the struct of its kind, and pipelines may share a trigger."""
    path = write(tmp_path, WHOLE)

    config = load(path)

    assert isinstance(config.sources[0], FolderSource)
    assert isinstance(config.triggers[0], SourceTrigger)
    assert isinstance(config.outputs[0], MqttOutput)
    assert [pipeline.trigger for pipeline in config.pipelines] == ["part", "part"]
    assert config.pipelines[0].guard.frozen_after == 0


def test_paths_are_relative_to_the_file_and_identity_to_the_data(tmp_path: Path) -> None:
    """A relative path means the same wherever the agent is started from."""
    path = write(tmp_path, WHOLE)

    config = load(path)

    assert config.data_dir == tmp_path / "data"
    assert config.identity.key_file == tmp_path / "data" / "identity" / "key.pem"
    assert config.sources[0].path == tmp_path / "pictures"


def test_an_absolute_path_stays(tmp_path: Path) -> None:
    """An absolute path is taken as it is, for the identity's files too."""
    path = write(tmp_path, f'data_dir = "/var/lib/x"\n{SMALLEST}[identity]\nkey_file = "{tmp_path}/k.pem"\n')

    config = load(path)

    assert config.data_dir == Path("/var/lib/x")
    assert config.identity.key_file == tmp_path / "k.pem"
    assert config.identity.certificate_file == Path("/var/lib/x/identity/certificate.pem")


@pytest.mark.parametrize(
    ("text", "cause", "cure"),
    [
        (f"{SMALLEST}[stoer]\n", "the file: unknown key 'stoer'", "'store'"),
        (f"{SMALLEST}[store]\nquota = 5\n", "[store]: unknown key 'quota'", "'quota_mb'"),
        (SMALLEST + "zzz = 1\n", "[gateway]: unknown key 'zzz'", "it knows id, tenant"),
        (WHOLE.replace("path =", "paht ="), "[[sources]] 'camera': unknown key 'paht'", "'path'"),
        (WHOLE.replace("frozen_after", "frozen"), "[[pipelines]] 'surface', guard: unknown key", "'frozen_after'"),
        (WHOLE.replace('"folder"', '"fodler"'), "[[sources]] 'camera': kind is 'fodler'", "folder, replay"),
        (WHOLE.replace('kind = "folder"\n', ""), "[[sources]] 'camera': has no kind", "folder, replay"),
        (WHOLE.replace('path = "pictures"', ""), "[[sources]] 'camera': object missing", "path: folder to watch"),
        (WHOLE.replace('trigger = "part"', 'trigger = "tick"'), "there is no trigger 'tick'", "take one of part"),
        (WHOLE.replace('["plc"]', '["plc", "lamp"]'), "there is no output 'lamp'", "take one of plc"),
        (WHOLE.replace('source = "camera"', 'source = "cam"'), "there is no source 'cam'", "take one of camera"),
        (WHOLE.replace('"second"', '"surface"'), "[[pipelines]]: 'surface' is there twice", "its own name"),
        (WHOLE.replace("Europe/Berlin", "Europe/Ulm"), "gateway.timezone: 'Europe/Ulm'", "IANA"),
        (WHOLE.replace("Europe/Berlin", "../Berlin"), "gateway.timezone: '../Berlin'", "IANA"),
        (
            WHOLE.replace("mqtt://127.0.0.1:1883", "127.0.0.1"),
            "hub.broker: expected `str` matching",
            "mqtt://host:port",
        ),
        (WHOLE.replace('"press-1"', '"Press 1"'), "gateway.id: expected", "a-z, 0-9 and hyphen"),
        (f"{SMALLEST}[store]\ncommit_s = 0\n", "store.commit_s: expected", "waits in memory"),
        (f"{SMALLEST}[store]\ncommit_s = nan\n", "store.commit_s: expected", "waits in memory"),
        (f"{SMALLEST}[store]\nquota_mb = 'many'\n", "store.quota_mb: expected `int`", "disk"),
        (f"data_dir = 5\n{SMALLEST}", "data_dir: ", "where the gateway keeps"),
        (f"schema = 2\n{SMALLEST}", "schema: invalid enum value 2", "version of this file"),
        ("", "the file: object missing required field `gateway`", "gateway"),
        ("[gateway\n", "is not TOML", "brackets"),
        ("sources = 5\n" + SMALLEST, "sources: expected `array`", "[[sources]]"),
        (f"{SMALLEST}[sources]\n", "sources: expected `array`", "[[sources]]"),
        ("sources = [5]\n" + SMALLEST, "sources", "[[sources]]"),
        (WHOLE.replace("frozen_after = 0", "frozen_after = -1"), "'surface' guard.frozen_after: expected", "in a row"),
        ("gateway = 5\n", "gateway: expected `object`", "[gateway]"),
    ],
)
def test_a_wrong_file_is_refused_with_cause_and_cure(tmp_path: Path, text: str, cause: str, cure: str) -> None:
    """What is wrong in the file is named as the operator wrote it, and the second line tells the cure."""
    error = refused(tmp_path, text)

    assert cause in str(error)
    assert cure in error.hint


def test_a_missing_file_is_refused_with_its_path(tmp_path: Path) -> None:
    """A file that cannot be read is named with the system's reason."""
    with pytest.raises(ConfigError, match="No such file") as caught:
        load(tmp_path / "none.toml")

    assert caught.value.hint


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    """A file in another encoding is a typed error, not a traceback."""
    path = tmp_path / "gateway.toml"
    path.write_bytes(b'[gateway]\nid = "\xff"\n')

    with pytest.raises(ConfigError, match="not UTF-8"):
        load(path)


def test_the_digest_is_of_what_the_file_means(tmp_path: Path) -> None:
    """Writing a default down or moving the folder keeps the digest; changing a value changes it."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    here = load(write(tmp_path / "a", SMALLEST))
    moved = load(write(tmp_path / "b", f'data_dir = "data"\n{SMALLEST}[store]\ncommit_s = 2\n'))
    changed = load(write(tmp_path / "b", f"{SMALLEST}[store]\ncommit_s = 3\n"))

    assert here.digest == moved.digest
    assert here.digest != changed.digest
    assert len(bytes.fromhex(here.digest)) == 32


def test_the_digest_is_not_a_key(tmp_path: Path) -> None:
    """What the agent adds to the configuration cannot be written into the file."""
    error = refused(tmp_path, f'digest = "0"\n{SMALLEST}')

    assert "unknown key 'digest'" in str(error)
    assert Config.__struct_fields__[-1] == "digest"


def test_every_key_is_explained() -> None:
    """Each key has a meaning and a default, so that `config check` can show both."""
    unexplained = [key for key in reference.all_keys() if not (key.meaning and key.default)]

    assert unexplained == []


def test_the_readme_lists_every_key_as_it_is() -> None:
    """The table of edge_agent/README.md is the one that the types give."""
    assert reference.markdown() in README.read_text()


def test_the_gateway_in_the_readme_is_a_gateway(tmp_path: Path) -> None:
    """The example of edge_agent/README.md is taken as it stands."""
    example = README.read_text().partition("```toml\n")[2].partition("```")[0]

    config = load(write(tmp_path, example))

    assert [pipeline.outputs for pipeline in config.pipelines] == [("log",)]
