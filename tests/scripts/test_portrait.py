import numpy as np
import pytest
from rich.color import Color

from scripts.day.portrait import COLUMNS, ROWS, half_blocks, shades

ONE_CELL = 0.08


def test_a_hot_place_shows_where_it_is() -> None:
    """The highest value of a cell counts, so that a thin scratch does not fade."""
    heat = np.zeros((28, 28))
    heat[20, 5] = 1.0

    lines = shades(heat)

    assert "".join(lines).strip() != ""
    row = next(i for i, line in enumerate(lines) if line.strip())
    column = lines[row].index("@")
    assert row / len(lines) == pytest.approx(20 / 28, abs=ONE_CELL)
    assert column / len(lines[0]) == pytest.approx(5 / 28, abs=ONE_CELL)


def test_a_picture_has_two_pixels_a_character() -> None:
    """The upper half is the letter, the lower half is behind it."""
    picture = np.zeros((224, 224, 3), np.uint8)
    picture[:112] = 255

    lines = half_blocks(picture)

    assert (len(lines), len(lines[0])) == (ROWS, COLUMNS)
    assert lines[0].spans[0].style.color == Color.parse("#ffffff")
    assert lines[-1].spans[0].style.bgcolor == Color.parse("#000000")
