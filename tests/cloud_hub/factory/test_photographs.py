"""Collections of others lie where they may; what is not here leaves a model out and breaks nothing."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from cloud_hub.errors import LeftOut
from cloud_hub.factory.photographed import turned
from cloud_hub.factory.photographs import cut, find_collection, read_folder


def test_a_collection_that_is_nowhere_says_where_it_comes_from_and_goes() -> None:
    """The message names the collection, the hint its origin and a place."""
    with pytest.raises(LeftOut, match="no-such-parts") as caught:
        find_collection("no-such-parts", "somebody's collection, MIT")

    assert "somebody's collection, MIT" in caught.value.hint
    assert "no-such-parts" in caught.value.hint


def test_pieces_are_where_their_row_and_column_say() -> None:
    """Each piece holds the pixels at its row and column times the side; what is left over is in none."""
    picture = np.random.default_rng(1).integers(0, 256, (65, 43, 3), np.uint8)

    pieces = cut(picture, 20)

    assert set(pieces) == {(row, column) for row in range(3) for column in range(2)}
    for (row, column), piece in pieces.items():
        assert np.array_equal(piece, picture[20 * row : 20 * row + 20, 20 * column : 20 * column + 20])


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    """Which part is in which split hangs on the names alone, and what is no picture is passed over."""
    for level in (30, 10, 20):
        cv2.imwrite(str(tmp_path / f"part-{level}.png"), np.full((2, 2, 3), level, np.uint8))
    (tmp_path / "part-15.png").write_text("not a picture")

    assert [int(picture[0, 0, 0]) for picture in read_folder(tmp_path)] == [10, 20, 30]


def test_a_picture_is_turned_into_itself_and_its_mirror_images() -> None:
    """Four views of each, the first as it is."""
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)

    views = turned([picture])

    assert np.array_equal(views[0], picture)
    assert len({view.tobytes() for view in views}) == 4
