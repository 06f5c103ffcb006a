"""The words of an update: each refusal has a cure, and only what can be over by itself is tried again."""

import pytest

from edge_protocol.errors import ProtocolError
from edge_protocol.updates import CURES, PASSING, Refusal, UpdateRefused


def test_every_refusal_has_a_cure():
    """Whoever reads a refusal's name is told what to do."""
    assert set(CURES) == set(Refusal)
    assert all(CURES.values())


@pytest.mark.parametrize("refusal", Refusal)
def test_a_refusal_says_its_name_its_detail_and_its_cure(refusal):
    """The first line names the refusal and what was found, the hint what to do, `retry` whether it may pass."""
    refused = UpdateRefused(refusal, "surface-anomaly 1.2.0")

    assert isinstance(refused, ProtocolError)
    assert str(refused) == f"{refusal.value}: surface-anomaly 1.2.0"
    assert (refused.hint, refused.retry) == (CURES[refusal], refusal in PASSING)
