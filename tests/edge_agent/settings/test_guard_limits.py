import msgspec

from edge_agent.settings import Guard
from edge_agent.settings.pipelines import LIMITS


def test_every_limit_of_a_guard_is_named_with_a_reason() -> None:
    """What an operator is told to look at exists, and no key of a guard is one that no reason speaks of."""
    keys = {field.name for field in msgspec.structs.fields(Guard)}

    assert {key for each in LIMITS.values() for key in each} == keys
