"""Gateways in waves: as many as asked for, everybody once, never a gateway beside its stand-in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_hub.updates.rollouts.waves import Place, late, problems, split


def places(n: int) -> list[Place]:
    """Gateways without stand-ins."""
    return [Place(f"g{i:04}") for i in range(n)]


@pytest.mark.parametrize(
    ("waves", "gateways", "sizes"),
    [
        (("100%",), 3, [3]),
        (("1", "50%", "100%"), 10, [1, 4, 5]),
        (("1", "50%", "100%"), 2, [1, 1]),
        (("1", "50%", "100%"), 1, [1]),
        (("10%", "100%"), 3, [1, 2]),
        (("1", "2", "rest"), 10, [1, 2, 7]),
        (("4", "6"), 10, [4, 6]),
        (("4", "4", "4"), 10, [4, 4, 2]),
        (("33.3%", "100%"), 1000, [333, 667]),
        (("5", "10%", "100%"), 20, [5, 15]),
    ],
)
def test_waves_are_as_large_as_asked(waves: tuple[str, ...], gateways: int, sizes: list[int]) -> None:
    """
    Counts are gateways of a wave, shares are of all that is through by then; an empty wave is left out.
    """
    found = list(split(waves, places(gateways)).values())

    assert list(problems(waves, gateways)) == []
    assert [found.count(wave) for wave in range(max(found) + 1)] == sizes


@pytest.mark.parametrize(
    ("waves", "problem"),
    [
        ((), "there is none"),
        (("1", "50%"), "the last share must be 100%, not 50%"),
        (("1", "2"), "they cover 3 of 10 gateways"),
        (("50%", "20%", "100%"), "shares must ascend"),
        (("0%", "100%"), "shares must ascend, above 0%"),
        (("120%",), "up to 100%"),
        (("rest", "100%"), "`rest` stands at the end only"),
        (("one", "100%"), "'one' is neither"),
        (("0", "100%"), "'0' is neither"),
        (("-1", "100%"), "'-1' is neither"),
        (("", "100%"), "'' is neither"),
    ],
)
def test_waves_that_do_not_add_up_are_named(waves: tuple[str, ...], problem: str) -> None:
    """
    What is no wave, does not ascend or does not cover everybody is said, before anything is made.
    """
    assert any(problem in each for each in problems(waves, 10))


def test_stand_ins_are_never_in_one_wave() -> None:
    """
    Two gateways with one group are kept apart, also where only one wave was asked for.
    """
    fleet = [Place("a", "x"), Place("b", "x"), Place("c"), Place("d", "y"), Place("e", "y"), Place("f", "y")]

    assert split(("100%",), fleet) == {"a": 0, "c": 0, "d": 0, "b": 1, "e": 1, "f": 2}
    assert split(("1", "rest"), fleet) == {"a": 0, "b": 1, "c": 1, "d": 1, "e": 2, "f": 3}


GROUPS = st.lists(st.sampled_from(["", "", "x", "y", "z"]), min_size=1, max_size=60)
WAVES = st.sampled_from([("100%",), ("1", "50%", "100%"), ("1", "rest"), ("2", "3", "10%", "100%"), ("60",)])


@given(GROUPS, WAVES)
def test_everybody_is_in_exactly_one_wave(groups: list[str], waves: tuple[str, ...]) -> None:
    """
    Whatever the groups: all are placed, no wave is empty, none holds two of a group or more than was asked for.
    """
    fleet = [Place(f"g{i:02}", group) for i, group in enumerate(groups)]

    found = split(waves, fleet)

    assert found.keys() == {place.gateway for place in fleet}
    for wave in range(max(found.values()) + 1):
        there = [place for place in fleet if found[place.gateway] == wave]
        named = [place.group for place in there if place.group]
        assert there
        assert len(named) == len(set(named))


def test_a_late_joiner_comes_last() -> None:
    """
    It joins the last wave; after it, where that is full by its count or has its stand-in.
    """
    seats = [(Place("a"), 0), (Place("b", "x"), 1)]

    assert late(("1", "100%"), seats, Place("c")) == 1
    assert late(("1", "100%"), seats, Place("c", "x")) == 2
    assert late(("1", "1"), seats, Place("c")) == 2
    assert late(("1", "2"), seats, Place("c")) == 1
