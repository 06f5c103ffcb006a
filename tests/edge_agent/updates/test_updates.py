import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_agent import settings
from edge_agent.errors import InferenceError
from edge_agent.store import StoreFull
from edge_agent.updates import machine, objects
from edge_agent.updates.ledger import KEEP_ROWS, Problem
from edge_agent.updates.updates import NOTES, TAKES, TAKES_US
from edge_protocol import bundle
from edge_protocol.bundle import Manifest, OperatingPoint
from edge_protocol.codes import Reason
from edge_protocol.messages import Block, Update
from edge_protocol.metadata import MODELS, carry, pack
from edge_protocol.updates import Refusal, UpdateRefused
from tests.edge_agent.inference.small_bundles import write_window_bundle
from tests.edge_agent.updates.line import LIMITS, Line, Passed
from tests.edge_agent.updates.releases import Release, good, release
from tests.edge_agent.updates.test_objects import Disk

PATIENT = settings.Updates(probation_verdicts=10_000, probation_s=1000)
"""A probation that does not end by itself."""


def in_phase(phase: machine.Phase) -> Any:
    """A look at where the machine stands."""
    return lambda line: line.renewal.state.phase is phase


def said(step: str) -> Any:
    """A look at what was told last."""
    return lambda line: bool(line.told) and line.steps()[-1] == step


@contextmanager
def line_of(folder: Path, *releases: Release, **keys: Any) -> Iterator[Line]:
    """A line that ends in order."""
    line = Line(folder, releases, **keys)
    try:
        yield line
    finally:
        line.close()


def test_a_release_is_told_step_by_step(tmp_path: Path) -> None:
    """Wanted, staged, probation, kept: each once, about this release, with the rollout; the panes begin anew once."""
    made = good("1.1.0")
    with line_of(tmp_path, made) as line:
        line.name(made)
        line.run(said("kept"))

        assert line.steps() == ["wanted", "staged", "probation", "kept"]
        assert {(each.pipeline, each.version, each.digest, each.rollout) for each in line.told} == {
            ("engine", "1.1.0", made.digest, "r-1")
        }
        assert line.swaps == [made.digest]
        assert {each.context.digest.hex() for each in line.judged} == {line.placed, made.digest}


def test_only_what_is_missing_is_fetched(tmp_path: Path) -> None:
    """A release that moves the threshold re-sends its manifest and nothing that the placed bundle has."""
    made = release("1.1.0", operating_point=OperatingPoint(accept=0.3, reject=0.7))
    with line_of(tmp_path, made) as line:
        line.name(made)
        line.run(said("kept"))

        golden = hashlib.sha256(made.files["golden.npy"]).hexdigest()
        assert {want.sha256 for want in line.wants} == {made.digest, golden}
        next_one = release("1.1.1", operating_point=OperatingPoint(accept=0.2, reject=0.7))
        line.objects |= next_one.objects
        line.wants.clear()
        line.name(next_one)
        line.run(lambda line: line.pipeline.model.digest == next_one.digest)
        assert {want.sha256 for want in line.wants} == {next_one.digest}


def test_a_newer_name_takes_the_place_of_what_is_on_its_way(tmp_path: Path) -> None:
    """While the first is fetched the director names another: the first is dropped, nothing of it ever judges."""
    first, second = good("1.1.0"), good("1.2.0")
    with line_of(tmp_path, second) as line:
        line.name(first)
        line.run(in_phase(machine.Phase.MANIFEST))
        line.name(second)
        line.run(said("kept"))

        assert line.steps() == ["wanted", "wanted", "staged", "probation", "kept"]
        assert line.swaps == [second.digest]


def test_a_newer_name_ends_a_probation_with_the_model_that_is_known(tmp_path: Path) -> None:
    """On probation another is named: the model before judges while the next is fetched, and nothing is called bad."""
    first, second = good("1.1.0"), good("1.2.0")
    with line_of(tmp_path, first, second, limits=PATIENT) as line:
        line.name(first)
        line.run(in_phase(machine.Phase.PROBATION))
        line.name(second)
        line.run(lambda line: line.swaps[-1] == second.digest)

        assert line.swaps == [first.digest, line.placed, second.digest]
        assert line.ledger.refused("engine") == {}
        assert line.ledger.slots()["engine"].previous == line.placed


def fail(_tensor: object) -> Any:
    """A runtime that has had enough."""
    message = "the model failed"
    raise InferenceError(message, "", Reason.ENGINE_FAULT)


def test_a_model_that_fails_on_the_line_gives_way_and_is_remembered(tmp_path: Path) -> None:
    """Unstable: the model before is back within few parts, the digest is not tried again until another is named."""
    made, other = good("1.1.0"), good("1.2.0")
    with line_of(tmp_path, made, other, limits=PATIENT) as line:
        line.name(made)
        line.run(in_phase(machine.Phase.PROBATION))
        line.pipeline.model.predict = fail  # type: ignore[method-assign, assignment]
        before = len(line.judged)
        line.run(said("returned Unstable"))
        faults = [each for each in line.judged[before:] if each.reason is Reason.ENGINE_FAULT]
        line.name(made)
        for _ in range(20):
            line.step()

        assert len(faults) < 10
        assert line.pipeline.model.digest == line.placed
        assert line.steps()[-1] == "returned Unstable"
        standing = line.updates.standing("engine")
        assert (standing.wanted, standing.step, standing.refusal) == (made.digest, "returned", "Unstable")
        line.name(other)
        line.run(in_phase(machine.Phase.PROBATION))
        assert line.ledger.refused("engine") == {}


def test_a_silent_judge_gives_way(tmp_path: Path) -> None:
    """The thread that judges hangs in the new model: the one before is put in its place."""
    with line_of(tmp_path, good("1.1.0"), limits=PATIENT) as line:
        line.name(good("1.1.0"))
        line.run(in_phase(machine.Phase.PROBATION))
        line.silent = True
        line.run(said("returned Unstable"))

        assert "does not come back" in line.told[-1].detail


def test_nothing_below_the_floor_is_returned_to(tmp_path: Path) -> None:
    """Unstable, but the model before may not run any more: it stays, that is said once, and the next name is taken."""
    made, other = good("1.1.0"), good("1.2.0")
    with line_of(tmp_path, made, other, limits=PATIENT) as line:
        line.name(made)
        line.run(in_phase(machine.Phase.PROBATION))
        with line.store.transaction() as connection:
            connection.execute("INSERT INTO floors VALUES ('bundle', 'small-window', '1.1.0')")
        line.pipeline.model.predict = fail  # type: ignore[method-assign, assignment]
        line.run(said("probation Unstable"))
        for _ in range(20):
            line.step()

        assert line.swaps == [made.digest]
        assert line.steps().count("probation Unstable") == 1
        line.name(other)
        line.run(lambda line: line.swaps[-1] == other.digest)
        assert line.ledger.slots()["engine"].previous == ""


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


def test_the_same_message_twice_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set that was taken is not even opened again; one that changed is."""
    with line_of(tmp_path) as line:
        taken: list[str] = []
        monkeypatch.setattr(line.director, "take", lambda repository, _files: taken.append(repository))
        payload = carry(pack({"timestamp.json": b"{}"}))
        for message in (payload, payload, carry(pack({"timestamp.json": b"[]"}))):
            line.updates.on_message(MODELS, message)
            line.step()

        assert taken == [MODELS, MODELS]


def test_a_refused_set_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forged, garbled, replayed: a note with the refusal's name and the repository, not one for each repetition."""

    def refuse(_repository: str, _files: object) -> None:
        raise UpdateRefused(Refusal.NOT_TRUSTED, "timestamp was signed by 0/1 keys")

    with line_of(tmp_path) as line:
        monkeypatch.setattr(line.director, "take", refuse)
        for content in (b"{}", b"{}"):
            line.updates.on_message(MODELS, carry(pack({"timestamp.json": content})))
            line.step()
        line.updates.on_message(MODELS, b"garbage")
        line.step()

        assert [(each.pipeline, each.step, each.refusal) for each in line.told] == [("", "refused", "NotTrusted")] * 2
        assert line.told[0].detail == "models: timestamp was signed by 0/1 keys"


def test_a_refused_set_that_is_played_again_later_is_said_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forged, good, forged: two notes. A thief who sends a thousand fills no disk."""

    def refuse_braces(_repository: str, files: dict[str, bytes]) -> None:
        if files["timestamp.json"].startswith(b"{"):
            raise UpdateRefused(Refusal.NOT_TRUSTED, "timestamp was signed by 0/1 keys")

    with line_of(tmp_path) as line:
        monkeypatch.setattr(line.director, "take", refuse_braces)
        for content in (b"{}", b"[]", b"{}", *(b"{%d}" % n for n in range(100))):
            line.clock.advance(300_000)
            line.updates.on_message(MODELS, carry(pack({"timestamp.json": content})))
            line.step()
            if content == b"[]":
                before = len(line.told)
            elif len(line.told) == 2:
                assert before == 1

        assert len(line.told) == NOTES


def test_a_set_that_is_too_large_for_a_message_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its digest, as an object; then it is taken like any other, and the object goes."""
    import random

    body = pack({"timestamp.json": random.Random(1).randbytes(300_000)})  # noqa: S311 (bytes that do not compress)
    with line_of(tmp_path) as line:
        taken: list[int] = []
        monkeypatch.setattr(
            line.director, "take", lambda _repository, files: taken.append(len(files["timestamp.json"]))
        )
        line.objects[hashlib.sha256(body).hexdigest()] = body
        line.updates.on_message(MODELS, carry(body))
        line.run(lambda _line: taken == [300_000])
        line.step()

        assert list((tmp_path / "objects").iterdir()) == []


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


def test_only_the_running_and_the_one_before_stay_on_the_disk(tmp_path: Path) -> None:
    """After three releases: two slots, their objects, and no more."""
    releases = [good(f"1.{n}.0") for n in (1, 2, 3)]
    with line_of(tmp_path, *releases) as line:
        for made in releases:
            line.name(made)
            line.run(lambda line, made=made: line.ledger.slots().get("engine") is not None  # type: ignore[misc]
                     and line.ledger.slots()["engine"].digest == made.digest and said("kept")(line))  # fmt: skip
            line.step()

        assert {path.name for path in (tmp_path / "slots").iterdir()} == {each.digest for each in releases[1:]}
        kept = {sha for each in releases[1:] for sha in each.objects}
        assert {path.name for path in (tmp_path / "objects").iterdir()} == kept


def test_what_cannot_be_written_down_does_not_happen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is full at the activation: the old model goes on; with room the new one takes over."""
    made = good("1.1.0")
    with line_of(tmp_path, made) as line:
        put, full = line.ledger.put, [True]

        def refuse_while_full(*arguments: Any, **keys: Any) -> None:
            if full[0]:
                message = "no room"
                raise StoreFull(message)
            put(*arguments, **keys)

        monkeypatch.setattr(line.ledger, "put", refuse_while_full)
        line.name(made)
        line.run(in_phase(machine.Phase.LOADING))
        for _ in range(50):
            line.step()
            line.updates.wait(0.002)
        while_full = (line.pipeline.model.digest, list(line.swaps), dict(line.ledger.slots()))
        full[0] = False
        line.run(said("kept"))

        assert while_full == (line.placed, [], {})
        assert line.pipeline.model.digest == made.digest


def test_the_history_is_bounded(tmp_path: Path) -> None:
    """The oldest steps go when there are more than a thousand."""
    with line_of(tmp_path) as line:
        line.ledger.note(*(Update(pipeline="engine", step="wanted", version=str(n)) for n in range(KEEP_ROWS + 5)))

        with line.store.reading() as connection:
            ((n, first),) = connection.execute("SELECT count(*), min(CAST(version AS INTEGER)) FROM updates").fetchall()
        assert (n, first) == (KEEP_ROWS, 5)


def test_a_pipeline_that_is_not_named_is_left_alone(tmp_path: Path) -> None:
    """Named, then not any more: what was on its way is dropped; what judges goes on judging."""
    made = good("1.1.0")
    with line_of(tmp_path) as line:
        line.name(made)
        line.run(in_phase(machine.Phase.MANIFEST))
        line.name(None)
        line.step()

        assert line.renewal.state == replace(line.renewal.state, phase=machine.Phase.IDLE, wanted=None, step="")
        assert line.pipeline.model.digest == line.placed


def test_what_was_placed_and_is_named_stays_what_it_is(tmp_path: Path) -> None:
    """The director names the placed bundle: the row and a slot are made, and the folder is never looked at again."""
    made = good("1.0.0")
    folder = tmp_path / "bundles/small-window"
    folder.mkdir(parents=True)
    for name, content in {**made.files, bundle.MANIFEST: made.manifest}.items():
        (folder / name).write_bytes(content)
    with line_of(tmp_path) as line:
        line.name(made)
        for _ in range(5):
            line.step()
        steps, wants = line.steps(), line.wants
    shutil.rmtree(folder)
    write_window_bundle(folder, version="6.6.6")

    with line_of(tmp_path) as line:
        assert (steps, wants) == (["kept"], [])
        assert line.pipeline.model.digest == made.digest


def test_a_flood_of_sets_does_not_keep_the_line_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty sets in ten seconds are verified, the rest is dropped; what comes later is taken again."""
    taken: list[bytes] = []
    with line_of(tmp_path) as line:
        monkeypatch.setattr(line.director, "take", lambda _repository, files: taken.append(files["timestamp.json"]))
        for n in range(3 * TAKES):
            line.updates.on_message(MODELS, carry(pack({"timestamp.json": b"%d" % n})))
            line.updates.step()
        flooded = len(taken)
        line.clock.advance(TAKES_US)
        line.updates.on_message(MODELS, carry(pack({"timestamp.json": b"good"})))
        line.updates.step()

        assert flooded == TAKES
        assert taken[-1] == b"good"
