"""The owner's verbs of operating points: what they print, what they exit with, what bad input gets."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cloud_hub import config
from cloud_hub.access import keys
from cloud_hub.cli import main
from cloud_hub.clock import FixedClock, SystemClock
from cloud_hub.storage.database import Database
from cloud_hub.storage.migrate import upgrade
from cloud_hub.updates import points
from edge_protocol import points as language
from edge_protocol.agreement import Published, Target
from edge_protocol.bundle import OperatingPoint
from edge_protocol.points import Point
from tests.cloud_hub.updates.rollouts.works import NAME, OWNER, V1, V2, Works

Say = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """The folder of a hub: two gateways, two releases, and an operating point for the first."""
    with pytest.raises(SystemExit):
        main(["init", "--hub", str(tmp_path / "hub")])
    folder = tmp_path / "hub"
    database = Database.open(config.load(folder).database_url)
    upgrade(database)
    works = Works(database, FixedClock(SystemClock().wall_us()), folder)
    (folder / "keys").mkdir(exist_ok=True)
    (folder / "keys" / "online.pem").write_bytes(keys.private_pem(works.signer))
    works.publish(V1, V2)
    works.gateway("press-1", labels={"stage": "canary"})
    works.gateway("press-2", runs=V2)
    point = Point(
        schema=1, bundle=NAME, digest=V1.digest.hex(), name="line-3", version="1.0.0",
        operating_point=OperatingPoint(accept=0.1, reject=0.2),
    )  # fmt: skip
    raw = language.canonical(point)
    works.objects.put(raw)
    target = Target(
        language.path_of(NAME, "line-3", "1.0.0"), hashlib.sha256(raw).hexdigest(), len(raw),
        msgspec.to_builtins(Published(kind=language.KIND)),
    )  # fmt: skip
    with database.writing() as connection:
        points.keep(connection, works.objects, "vision", target, actor=OWNER, now_us=works.clock.wall_us())
    database.close()
    return folder


@pytest.fixture
def say(hub: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """Run a verb of `operating-point`: exit code, what it printed as JSON or words, what it complained about."""

    def run(*arguments: object, words: bool = False) -> tuple[int, Any, str]:
        form = [] if words else ["--json"]
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main(["operating-point", *map(str, arguments), "--hub", str(hub), *form])
        said = capsys.readouterr()
        code = caught.value.code if isinstance(caught.value.code, int) else 0
        return code, said.out if words or not said.out else json.loads(said.out), said.err

    return run


def test_assigned_shown_and_cleared(say: Say) -> None:
    """To who runs its release, by label or all; shown as not yet judged by, with exit code 1; taken back."""
    assert say("assign", NAME, "line-3", "1.0.0", "--label", "stage=canary")[:2] == (
        0, [{"gateway": "press-1", "pipeline": "seal"}]
    )  # fmt: skip
    code, found, _ = say("show")
    assert (code, [each["name"] for each in found["published"]]) == (1, ["line-3"])
    assert [(each["gateway"], each["version"], each["judges_by"]) for each in found["assigned"]] == [
        ("press-1", "1.0.0", "")
    ]
    assert "its bundle's own" in say("show", words=True)[1]

    assert say("clear", "--gateway", "press-1")[0] == 0
    assert say("show")[1]["assigned"] == []
    assert say("show", words=True)[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("assign", NAME, "line-9", "1.0.0"),
        ("assign", NAME, "line-3", "1.0.0", "--gateway", "press-2"),
        ("assign", NAME, "line-3", "1.0.0", "--gateway", "press-9"),
        ("assign", NAME, "line-3", "1.0.0", "--label", "stage"),
        ("clear",),
        ("publish", NAME, "1.0.0", "line-3", "1.0.0", "--file", "nowhere.json", "--key", "nowhere.pem"),
    ],
)
def test_bad_input_gets_its_cause_and_its_cure(say: Say, arguments: tuple[str, ...]) -> None:
    """Exit code 2, an error and what to do; nothing has changed."""
    code, _, complaint = say(*arguments)

    assert code == 2
    assert complaint.startswith("error: ")
    assert "  try: " in complaint
    assert say("show")[1]["assigned"] == []
