from scripts.day.truth import Truth, quality

TRUTH = {1: None, 2: "hole", 3: None, 4: "scratch", 5: "patch", 6: None, 7: "hole", 8: None}
VERDICTS = {1: "OK", 2: "NG", 3: "NG", 4: "OK", 5: "REVIEW", 6: "REVIEW", 7: "UNINSPECTED", 8: "UNINSPECTED"}


def test_each_kind_of_answer_has_its_column() -> None:
    """A defect is caught, escaped, in review or uninspected; a good part that is rejected is overkill."""
    found = quality(VERDICTS, TRUTH.__getitem__)

    assert (found.parts, found.defects) == (8, 4)
    assert (found.caught, found.escaped, found.defects_in_review, found.defects_uninspected) == (1, 1, 1, 1)
    assert (found.overkill, found.good_in_review) == (1, 1)


def test_a_part_is_drawn_once() -> None:
    """What a part really was is looked up once, however often it is asked."""
    asked: list[int] = []

    def draw(n: int) -> str | None:
        asked.append(n)
        return "hole"

    truth = Truth(draw)

    assert [truth(3), truth(3)] == ["hole", "hole"]
    assert asked == [3]
