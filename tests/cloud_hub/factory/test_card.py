import tomllib
from pathlib import Path

import pytest

from cloud_hub.errors import FactoryError
from cloud_hub.factory.card import complete_card, read_card
from cloud_hub.factory.evaluate import Figure

CARD = '[model]\nname = "a"\nversion = "1.0.0"\n\n[data]\norigin = "here"\n'


def test_a_card_keeps_what_was_written_and_adds_what_was_measured() -> None:
    """The completed card is TOML: the written tables, the data's digests, the figures with their intervals."""
    figures: dict[str, Figure | float] = {"fp32 auroc": Figure(0.98, 0.97, 0.99, 600), "psi": 0.0123, "whole": 2.0}

    text = complete_card(CARD, {"file one.png": "ab" * 32}, figures)

    card = tomllib.loads(text)
    assert text.startswith(CARD.rstrip())
    assert card["data"] == {"origin": "here", "sha256": {"file one.png": "ab" * 32}}
    assert card["measured"]["fp32 auroc"] == {"value": 0.98, "low": 0.97, "high": 0.99, "n": 600}
    assert card["measured"]["psi"] == 0.0123
    assert card["measured"]["whole"] == 2.0


@pytest.mark.parametrize("text", ["", "not toml", "[model]\nname = 'a'\n", "model = 3\n"])
def test_what_is_no_card_is_refused(tmp_path: Path, text: str) -> None:
    """A card without a name or version says so, and what it needs."""
    (tmp_path / "card.toml").write_text(text)

    with pytest.raises(FactoryError) as caught:
        read_card(tmp_path / "card.toml")

    assert "version" in caught.value.hint
