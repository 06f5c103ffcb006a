"""What both repositories name is wanted, and nothing else: each disagreement has its own name."""

from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_protocol import agreement
from edge_protocol.agreement import Directed, Published, Target, Wanted, agree, floors, path_of
from edge_protocol.bundle import MAX_MANIFEST_BYTES
from edge_protocol.updates import Refusal, UpdateRefused

ONE, OTHER = "1a" * 32, "2b" * 32
PATH = path_of("surface", "1.1.0")


def published(path=PATH, sha256=ONE, length=900, **custom):
    """A target as its publisher signs it."""
    return Target(path, sha256, length, msgspec.to_builtins(Published()) | custom)


def directed(path=PATH, sha256=ONE, length=900, **custom):
    """A target as the director of press-1 signs it."""
    said = msgspec.to_builtins(Directed(gateway="press-1", pipelines=("a",), rollout="r-7", models=5))
    return Target(path, sha256, length, said | custom)


@dataclass(frozen=True)
class Case:
    """What both repositories say, and what pipeline `a` of press-1 makes of it: a refusal's name, or None: wanted."""

    name: str
    expect: Refusal | None
    director: tuple = (directed(),)
    models: tuple = (published(),)
    floors: dict = field(default_factory=dict)
    version: int = 5


HUGE = {"length": MAX_MANIFEST_BYTES + 1}
CASES = [
    Case("both agree", None),
    Case("at the floor", None, floors={"surface": "1.1.0"}),
    Case("another bundle's floor", None, floors={"vibration": "9.0.0"}),
    Case("going back above the floor", None, floors={"surface": "1.0.9"}),
    Case("unknown fields are skipped", None, (directed(later=1),), (published(later=[1]),)),
    Case("the director names what no publisher signed", Refusal.NOT_AGREED, models=()),
    Case("the release is newer than the set here", Refusal.STALE, models=(), version=4),
    Case("digests differ", Refusal.NOT_AGREED, (directed(sha256=OTHER),)),
    Case("digests differ, and the set here is older", Refusal.NOT_AGREED, (directed(sha256=OTHER),), version=4),
    Case("lengths differ", Refusal.NOT_AGREED, (directed(length=901),)),
    Case("digest of one, path of another", Refusal.NOT_AGREED, models=(published(path_of("surface", "1.1.1")),)),
    Case("another gateway's", Refusal.NOT_ADDRESSED, (directed(gateway="press-2"),)),
    Case("no gateway's", Refusal.NOT_ADDRESSED, (directed(gateway=""),)),
    Case("below the floor", Refusal.BELOW_FLOOR, floors={"surface": "1.1.1"}),
    Case("below the floor, as numbers", Refusal.BELOW_FLOOR, floors={"surface": "1.10.0"}),
    Case("two releases", Refusal.INCOMPATIBLE, (directed(), directed(path_of("surface", "1.0.0")))),
    Case("three releases", Refusal.INCOMPATIBLE, tuple(directed(path_of("surface", f"1.0.{n}")) for n in range(3))),
    Case("a path that is no release", Refusal.INCOMPATIBLE, (directed("surface/manifest.json"),)),
    Case("a path of another file", Refusal.INCOMPATIBLE, (directed("surface/1.1.0/fp32.onnx"),)),
    Case("the director is not understood", Refusal.INCOMPATIBLE, (Target(PATH, ONE, 900, {"gateway": 3}),)),
    Case("the director says nothing", Refusal.INCOMPATIBLE, (Target(PATH, ONE, 900),)),
    Case("the kind is no word", Refusal.INCOMPATIBLE, (directed(kind=7),)),
    Case("the publisher says another kind", Refusal.INCOMPATIBLE, models=(published(kind="config"),)),
    Case("the publisher's custom is broken", Refusal.INCOMPATIBLE, models=(published(floor=[1]),)),
    Case("the floor is no version", Refusal.INCOMPATIBLE, models=(published(floor="newest"),)),
    Case("too large a manifest", Refusal.TOO_LARGE, (directed(**HUGE),), (published(**HUGE),)),
]


def _ruling(case):
    models = {target.path: target for target in case.models}
    return agree("press-1", ("a", "b"), case.director, models, case.floors, case.version)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_a_pipeline_shall_run(case):
    """Each disagreement is refused under its own name; agreement says release, digest and rollout."""
    ruling = _ruling(case)["a"]

    if case.expect is None:
        assert ruling == Wanted("a", "surface", "1.1.0", ONE, 900, "r-7")
    else:
        assert isinstance(ruling, UpdateRefused)
        assert ruling.refusal is case.expect, ruling


def test_a_publishers_part_that_was_not_taken_says_why():
    """The refusal of a publisher's part is that of its releases."""
    why = UpdateRefused(Refusal.EXPIRED, "pub-acme has expired")

    ruling = agree("press-1", ("a",), (directed(),), {PATH: why}, {}, 5)["a"]

    assert isinstance(ruling, UpdateRefused)
    assert (ruling.refusal, ruling.detail) == (why.refusal, why.detail)


@pytest.mark.parametrize("kind", ["operating-point", "config", "hub-keys", "agent", "later"])
def test_other_kinds_are_left_to_those_who_know_them(kind):
    """A target of another kind names no release, even beside one that does."""
    both = (directed(), directed(path_of("surface", "9.0.0"), kind=kind, gateway=None))

    assert list(agree("press-1", ("a",), both, {PATH: published()}, {}, 5).values()) == [
        Wanted("a", "surface", "1.1.0", ONE, 900, "r-7")
    ]
    assert agree("press-1", ("a",), both[1:], {}, {}, 5) == {}


def test_pipelines_that_are_not_named_or_not_here_are_left_alone():
    """The director speaks of what it names, and only of pipelines that this gateway has."""
    named = directed(pipelines=["a", "elsewhere", "a"])

    assert list(agree("press-1", ("a", "b"), (named,), {PATH: published()}, {}, 5)) == ["a"]


@pytest.mark.parametrize(
    "floor", ["1", "1.2", "1.2.3.4", "01.2.3", "a.b.c", "-1.0.0", "1.2.x", "1.1.1 ", "9" * 20, "¹.0.0"]
)
def test_a_floor_that_is_not_understood_hides_no_other(floor):
    """A broken floor, path or custom states nothing and stops nothing."""
    targets = [
        published(floor="1.0.0"),
        published(path_of("surface", "1.2.0"), floor=floor),
        published("surface/latest/manifest.json", floor="5.0.0"),
        published(path_of("surface", "1.3.0"), floor="9.0.0", kind="config"),
        Target(path_of("surface", "1.4.0"), ONE, 9, {"floor": {}}),
    ]

    assert floors(targets) == {"surface": "1.0.0"}


versions = st.tuples(*[st.integers(0, 12)] * 3).map(lambda numbers: ".".join(map(str, numbers)))


@given(st.lists(versions, min_size=1), versions)
def test_the_floor_is_the_highest_and_nothing_below_it_is_wanted(stated, version):
    """Whatever floors were stated and in whichever order: what is wanted is at or above each of them."""
    targets = [published(path_of("surface", f"0.0.{n}"), floor=floor) for n, floor in enumerate(stated)]
    path = path_of("surface", version)

    known = floors(targets)
    ruling = agree("press-1", ("a",), (directed(path),), {path: published(path)}, known, 5)["a"]

    numbers = agreement.parse_version(version)
    above_all = all(numbers >= agreement.parse_version(floor) for floor in stated)
    assert floors(targets[::-1]) == known
    assert isinstance(ruling, Wanted) == above_all


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
customs = st.dictionaries(
    st.sampled_from(["gateway", "pipelines", "kind", "rollout", "models", "floor", "x"]), anything
)
paths = st.sampled_from([PATH, path_of("surface", "1.0.0"), "surface/x/manifest.json", "", "../1.0.0/manifest.json"])
targets = st.builds(Target, paths, st.sampled_from([ONE, OTHER]), st.sampled_from([900, 901]), customs)


@given(st.lists(targets, max_size=4), st.lists(targets, max_size=4))
def test_what_is_wanted_was_named_by_both(director, models):
    """Whatever two signers say, nothing is raised, and what is wanted stands in both with one digest and length."""
    by_path = {target.path: target for target in models}

    rulings = agree("press-1", ("a", "b"), director, by_path, floors(models), 5)

    assert set(rulings) <= {"a", "b"}
    for wanted in rulings.values():
        if isinstance(wanted, Wanted):
            named = {(target.path, target.sha256, target.length) for target in director}
            assert (path := path_of(wanted.bundle, wanted.version), wanted.digest, wanted.length) in named
            assert (by_path[path].sha256, by_path[path].length) == (wanted.digest, wanted.length)
