import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge_protocol import points
from edge_protocol.bundle import OperatingPoint, Zone
from edge_protocol.codes import Verdict
from edge_protocol.points import Point, WantedPoint
from edge_protocol.updates import Refusal, UpdateRefused
from tests.edge_agent.updates.line import Line, line_of, said
from tests.edge_agent.updates.releases import good

STRICT = OperatingPoint(accept=0.0, reject=0.0)
"""By this every part is NG; by the bundle's own the part of these tests is OK."""


def point(line: Line, **changes: object) -> Point:
    """An operating point made for what runs."""
    made = Point(
        schema=1, bundle="small-window", digest=line.pipeline.model.digest, name="line-3", version="1.0.0",
        operating_point=STRICT,
    )  # fmt: skip
    return replace(made, **changes)


def name(line: Line, made: Point | bytes | UpdateRefused | None, **changes: object) -> str:
    """Both repositories name it, and the hub has it; its digest."""
    line.updates._is_begun = False
    if made is None or isinstance(made, UpdateRefused):
        line.director.points_said = {} if made is None else {"engine": made}
        return ""
    raw = made if isinstance(made, bytes) else points.canonical(made)
    sha256 = hashlib.sha256(raw).hexdigest()
    line.objects[sha256] = raw
    wanted = WantedPoint("engine", "small-window", "line-3", "1.0.0", sha256, len(raw))
    line.director.points_said = {"engine": replace(wanted, **changes)}
    return sha256


def judges_by(sha256: str) -> Callable[[Line], bool]:
    """A look at the digest that stands with the verdicts; empty: the bundle's own."""
    return lambda line: line.pipeline.model.point_digest.hex() == sha256


def last(line: Line) -> tuple[Verdict, str, str]:
    """What was judged last: the verdict, and both digests of its context."""
    line.step()
    judged = line.judged[-1]
    return judged.verdict, judged.context.digest.hex(), judged.context.operating_point.hex()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    """A line that runs what was placed."""
    with line_of(tmp_path) as line:
        assert last(line) == (Verdict.OK, line.placed, "")
        yield line


def test_a_pipeline_judges_by_what_both_name_without_loading_anything(line: Line) -> None:
    """From one sample to the next, by the same engine; every verdict says by which bundle and by which point."""
    engine = line.pipeline.model.engine
    sha256 = name(line, point(line))
    line.run(judges_by(sha256))

    assert last(line) == (Verdict.NG, line.placed, sha256)
    assert line.pipeline.model.engine is engine
    assert [(each.name, each.version, each.digest, each.refusal) for each in line.adjusted] == [
        ("line-3", "1.0.0", sha256, "")
    ]


def test_what_is_named_no_more_gives_way_to_the_bundles_own(line: Line) -> None:
    """The director's word holds until it says another: then the manifest's default is back."""
    sha256 = name(line, point(line))
    line.run(judges_by(sha256))
    name(line, None)
    line.run(judges_by(""))

    assert last(line) == (Verdict.OK, line.placed, "")
    assert line.adjusted[-1].digest == ""


def test_another_version_takes_its_place(line: Line) -> None:
    """A changed threshold is another file, and costs no more than that."""
    line.run(judges_by(name(line, point(line))))
    kind = replace(point(line), operating_point=OperatingPoint(accept=0.9, reject=0.95))
    sha256 = name(line, kind)
    line.run(judges_by(sha256))

    assert last(line) == (Verdict.OK, line.placed, sha256)


@pytest.mark.parametrize("cut", [False, True])
def test_it_outlives_a_restart_and_a_cut(tmp_path: Path, cut: bool) -> None:  # noqa: FBT001
    """The row decides before anything is said by the hub; the file need not be fetched again."""
    with line_of(tmp_path) as line:
        sha256 = name(line, point(line))
        line.run(judges_by(sha256))
        if cut:
            line.cut()
    with line_of(tmp_path) as line:
        assert line.pipeline.model.point_digest.hex() == sha256
        line.objects.clear()
        name(line, None)
        line.run(judges_by(""))
    with line_of(tmp_path) as line:
        assert line.pipeline.model.point_digest == b""


REFUSED = [
    (lambda line: point(line, digest="0" * 64), {}, "it was made for"),
    (lambda line: point(line, bundle="surface"), {}, "says of itself"),
    (lambda line: point(line, name="line-4"), {}, "says of itself"),
    (lambda line: point(line, version="1.0.1"), {}, "says of itself"),
    (lambda line: point(line, schema=2), {}, "schema"),
    (lambda line: point(line, operating_point=OperatingPoint(accept=2, reject=1)), {}, "accept"),
    (lambda _line: b"{}", {}, "not an operating point"),
    (
        lambda line: point(
            line, operating_point=replace(STRICT, zones=(Zone(name="a", polygon=((0, 0), (1, 0), (1, 1))),))
        ),
        {},
        "zone",
    ),
]


@pytest.mark.parametrize(("make", "changes", "words"), REFUSED)
def test_what_does_not_fit_changes_no_verdict(
    line: Line, make: Callable[[Line], Point | bytes], changes: dict[str, object], words: str
) -> None:
    """It is refused by name, once; what held still holds."""
    before = name(line, point(line))
    line.run(judges_by(before))
    name(line, make(line), **changes)
    line.run(lambda line: line.adjusted[-1].refusal == Refusal.INCOMPATIBLE)
    for _ in range(5):
        line.step()

    assert words in line.adjusted[-1].detail
    assert len(line.adjusted) == 2
    assert last(line) == (Verdict.NG, line.placed, before)


def test_what_is_not_agreed_changes_no_verdict(line: Line) -> None:
    """No publisher has signed it, or the set is stale: told once, and what held still holds."""
    before = name(line, point(line))
    line.run(judges_by(before))
    name(line, UpdateRefused(Refusal.NOT_AGREED, "no publisher has signed it"))
    for _ in range(5):
        line.step()

    assert [each.refusal for each in line.adjusted] == ["", "NotAgreed"]
    assert last(line) == (Verdict.NG, line.placed, before)


def test_bytes_that_are_not_what_was_signed_are_never_judged_by(line: Line) -> None:
    """The hub sends another file of the same length: its digest is not the one that both have signed."""
    sha256 = name(line, point(line))
    line.objects[sha256] = points.canonical(point(line, operating_point=OperatingPoint(accept=9.0, reject=9.0)))
    for _ in range(20):
        line.step()

    assert last(line) == (Verdict.OK, line.placed, "")


def test_what_nobody_has_spoken_of_yet_holds(tmp_path: Path) -> None:
    """A start without the kept sets, weeks from the hub: the row holds until both repositories say otherwise."""
    with line_of(tmp_path) as line:
        sha256 = name(line, point(line))
        line.run(judges_by(sha256))
    with line_of(tmp_path) as line:
        line.director.points_said = None
        for _ in range(5):
            line.step()

        assert last(line) == (Verdict.NG, line.placed, sha256)
        name(line, None)
        line.run(judges_by(""))


def test_a_digit_that_the_disk_changed_is_no_threshold(line: Line) -> None:
    """The file lies there under its digest and says something else: it is fetched again, not judged by."""
    made = point(line)
    raw = points.canonical(made)
    damaged = points.canonical(replace(made, operating_point=OperatingPoint(accept=9.0, reject=9.0)))
    sha256 = hashlib.sha256(raw).hexdigest()
    line.workshop.objects.path(sha256).write_bytes(damaged)
    name(line, made)
    line.run(judges_by(sha256))

    assert last(line)[0] is Verdict.NG
    assert line.workshop.objects.read(sha256) == raw


def test_a_row_that_was_damaged_holds_no_more(tmp_path: Path) -> None:
    """A database that was salvaged, or changed by hand: only what was signed is judged by at the next start."""
    with line_of(tmp_path) as line:
        made = point(line)
        line.run(judges_by(name(line, made)))
        changed = points.canonical(replace(made, operating_point=OperatingPoint(accept=9.0, reject=9.0)))
        with line.store.transaction() as connection:
            connection.execute("UPDATE points SET body = ?", (changed,))

    with line_of(tmp_path) as line:
        assert line.pipeline.model.point_digest == b""
        assert line.pipeline.model.operating_point == line.pipeline.model.manifest.operating_point


def test_another_release_judges_by_its_own_until_a_point_is_made_for_it(tmp_path: Path) -> None:
    """Scores of another release mean something else; when the release before comes back, so does its point."""
    made = good("1.1.0")
    with line_of(tmp_path, made) as line:
        sha256 = name(line, point(line))
        line.run(judges_by(sha256))
        line.name(made)
        line.run(said("kept"))
        assert last(line) == (Verdict.OK, made.digest, "")
        assert line.adjusted[-1].refusal == Refusal.INCOMPATIBLE

        other = name(line, point(line))
        line.run(judges_by(other))
        assert last(line) == (Verdict.NG, made.digest, other)


def test_a_release_that_is_given_back_leaves_the_one_before_with_its_point(tmp_path: Path) -> None:
    """Back to the release before is back to how it judged."""
    made = good("1.1.0")
    with line_of(tmp_path, made) as line:
        sha256 = name(line, point(line))
        line.run(judges_by(sha256))
        line.name(made)
        line.run(said("kept"))
        line.updates.distrust("engine", made.digest, "engine of golden.npy")
        line.run(said("returned SelfTestFailed"))

        assert last(line) == (Verdict.NG, line.placed, sha256)


def test_another_point_makes_no_engine_trusted(line: Line) -> None:
    """An engine in quarantine stays there, however it is to be judged by."""
    line.pipeline.quarantine(line.pipeline.model)
    sha256 = name(line, point(line))
    line.run(judges_by(sha256))

    assert last(line) == (Verdict.UNINSPECTED, line.placed, sha256)
    assert line.pipeline.quarantined
