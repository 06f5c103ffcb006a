import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_agent import settings
from edge_agent.updates import machine, objects
from edge_agent.updates.ledger import Problem
from edge_protocol import bundle
from edge_protocol.bundle import Manifest
from edge_protocol.messages import Block
from edge_protocol.updates import Refusal, UpdateRefused
from tests.edge_agent.updates.line import LIMITS, Passed, in_phase, line_of, said
from tests.edge_agent.updates.releases import Release, good, release
from tests.edge_agent.updates.test_objects import Disk


def other_bytes(block: Block) -> Block:
    """What a thief of the broker may send."""
    return msgspec.structs.replace(block, data=bytes(len(block.data)))


def test_a_file_that_is_another_is_tampered(tmp_path: Path) -> None:
    """Refused by name, remembered, nothing of it kept; the line goes on."""
    made = good("1.1.0")
    with line_of(tmp_path, made) as line:
        line.block = other_bytes
        line.name(made)
        line.run(said("refused Tampered"))
        line.name(made)
        for _ in range(10):
            line.step()

        assert line.steps() == ["wanted", "refused Tampered"]
        assert line.pipeline.model.digest == line.placed
        assert list((tmp_path / "objects").iterdir()) == []


def test_what_was_refused_is_tried_again_when_it_is_offered_anew(tmp_path: Path) -> None:
    """Also after a restart: the same rollout's word changes nothing, another attempt does, and what is good is kept."""
    made = good("1.1.0")
    with line_of(tmp_path, made) as line:
        line.block = other_bytes
        line.name(made, "7")
        line.run(said("refused Tampered"))
    with line_of(tmp_path, made) as line:
        line.name(made, "7")
        for _ in range(10):
            line.step()
        before = line.steps()
        line.name(made, "7.2")
        line.run(said("kept"))

        assert before == []
        assert line.pipeline.model.digest == made.digest
        assert line.ledger.refused("engine") == {}


def test_blocks_that_nobody_asked_for_are_nothing(tmp_path: Path) -> None:
    """Blocks of other objects, of another total, beyond the end, twice: the file comes out right."""
    made = good("1.1.0")
    with line_of(tmp_path, made) as line:

        def noisy(block: Block) -> Block:
            for forged in (
                msgspec.structs.replace(block, sha256="0" * 64),
                msgspec.structs.replace(block, total=block.total + 1),
                msgspec.structs.replace(block, offset=block.total),
            ):
                line.updates.on_message("block", msgspec.msgpack.encode(forged))
            line.updates.on_message("block", b"garbage")
            line.updates.on_message("block", msgspec.msgpack.encode(block))
            return block

        line.block = noisy
        line.name(made)
        line.run(said("kept"))

        assert line.pipeline.model.digest == made.digest
        assert line.ledger.refused("engine") == {}


def test_what_the_hub_does_not_have_is_asked_for_again(tmp_path: Path) -> None:
    """An absent object and lost blocks cost time and nothing else; the questions become rarer."""
    made = good("1.1.0")
    with line_of(tmp_path) as line:
        line.name(made)
        for _ in range(300):
            line.step()
        asked = len(line.wants)
        line.objects |= made.objects
        line.run(said("kept"))

        assert asked <= 3
        assert line.steps() == ["wanted", "staged", "probation", "kept"]


def test_a_full_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OutOfSpace with how much is missing, said once however often it is tried; then it goes on by itself."""
    made = good("1.1.0")
    usage = shutil.disk_usage
    with line_of(tmp_path, made) as line:
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: Disk(1, 1, objects.KEEP_FREE_BYTES - 1))
        line.name(made)
        line.run(in_phase(machine.Phase.WAITING))
        for _ in range(400):
            line.step()
        waiting, standing = line.steps(), line.updates.standing("engine")
        monkeypatch.setattr(shutil, "disk_usage", usage)
        line.run(said("kept"), 2000)

        assert waiting == ["wanted", "wanted OutOfSpace"]
        assert (standing.step, standing.refusal, standing.wanted) == ("wanted", "OutOfSpace", made.digest)
        assert "MB of disk space are missing" in standing.detail


def not_for_here(manifest: Manifest) -> Manifest:
    """Only for a processor of another kind."""
    variant = msgspec.structs.replace(manifest.variants[0], arch=("s390x",))
    return msgspec.structs.replace(manifest, variants=(variant,))


@pytest.mark.parametrize(
    ("made", "limits", "refusal", "words"),
    [
        (release("1.1.0", break_it=not_for_here), LIMITS, "Incompatible", "no variant for this"),
        (release("1.1.0", break_it=lambda m: msgspec.structs.replace(m, name="x")), LIMITS, "Incompatible", "says x 1"),
        (
            release("1.1.0", break_it=lambda m: msgspec.structs.replace(m, requires=("soul",))), LIMITS,
            "Incompatible", "soul",
        ),
        (
            release("1.1.0", break_it=lambda m: msgspec.structs.replace(
                m, files={**m.files, "fp32.onnx": bundle.File("ab" * 32, 9 * 2**20)})),
            settings.Updates(max_mb=5), "TooLarge", "it takes 9 MB, [updates] max_mb is 5",
        ),
    ],
    ids=["processor", "another name", "feature", "size"],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_its_files(
    tmp_path: Path, made: Release, limits: settings.Updates, refusal: str, words: str
) -> None:
    """The manifest is all that is fetched of it, and the refusal says what does not fit."""
    with line_of(tmp_path, made, limits=limits) as line:
        line.name(replace_head(made))
        line.run(lambda line: line.updates.standing("engine").step == "refused")

        assert line.told[-1].refusal == refusal
        assert words in line.told[-1].detail
        assert {want.sha256 for want in line.wants} == {made.digest}


def replace_head(made: Release) -> Release:
    """Named as small-window 1.1.0, whatever its manifest says."""

    class Named(Release):
        @property
        def wanted(self) -> Any:
            return msgspec.structs.replace(made.__class__.wanted.fget(self), bundle="small-window")  # type: ignore[attr-defined]

    return Named(made.manifest, made.files)


def test_a_refused_self_test_is_not_repeated(tmp_path: Path) -> None:
    """The same name again, also after a restart: remembered, nothing is fetched or run."""
    made = good("1.1.0")

    class Failed(Passed):
        def __init__(self) -> None:
            self.problem = Problem(Refusal.SELF_TEST_FAILED, "normalise of golden.npy")

    with line_of(tmp_path, made) as line:
        line.workshop.proof = Failed
        line.name(made)
        line.run(said("refused SelfTestFailed"))
    with line_of(tmp_path, made) as line:
        line.name(made)
        for _ in range(20):
            line.step()

        standing = line.updates.standing("engine")
        assert (line.told, line.wants) == ([], [])
        assert (standing.wanted, standing.step, standing.refusal) == (made.digest, "refused", "SelfTestFailed")


def test_what_was_refused_by_agreement_is_told_once_and_ends_with_it(tmp_path: Path) -> None:
    """Below the floor, not agreed, not addressed: by name, once; the next good name is taken."""
    made = good("1.1.0")
    with line_of(tmp_path, made) as line:
        for _ in range(3):
            line.name(UpdateRefused(Refusal.BELOW_FLOOR, "small-window 0.9.0 is below the publisher's floor 1.0.0"))
            line.step()
        refused = line.updates.standing("engine")
        line.name(made)
        line.run(said("kept"))

        assert (refused.step, refused.refusal) == ("refused", "BelowFloor")
        assert line.steps() == ["refused BelowFloor", "wanted", "staged", "probation", "kept"]
