"""Topics: what is built is what is parsed."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_protocol import topics
from edge_protocol.errors import DecodeError
from edge_protocol.topics import Address, Direction

GATEWAYS = st.from_regex(r"[a-z0-9-]{1,40}", fullmatch=True)
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,39}", fullmatch=True)
LEVELS = st.lists(st.sampled_from(["a", "b", "$sys", ""]), min_size=1, max_size=5)


@given(GATEWAYS, st.sampled_from(Direction), NAMES)
def test_parse_undoes_build(gateway, direction, name):
    """Every address comes back from its topic, and the topic is one that a broker takes."""
    address = Address(gateway, direction, name)

    topic = topics.build(address)

    assert topics.parse(topic) == address
    assert topics.check_topic(topic) == topic


@given(st.text(alphabet="linesdev1g/0f-up#+\n\0", max_size=60) | st.text(max_size=80))
def test_parse_takes_nothing_that_build_does_not_make(topic):
    """What parses is built again to the same topic; everything else is a DecodeError."""
    try:
        address = topics.parse(topic)
    except DecodeError:
        return

    assert topics.build(address) == topic


@pytest.mark.parametrize(
    "change",
    [
        lambda topic: topic.replace("/press-1/", "/press-2/"),
        lambda topic: topic + "\n",
        lambda topic: topic + "/x",
        lambda topic: "/" + topic,
        lambda topic: topic.upper(),
        lambda topic: topic.replace("/up/", "/sideways/"),
        lambda topic: topic.replace("v1", "v2"),
        lambda topic: re.sub("/g/../", "/g/zz/", topic),
    ],
)
def test_a_changed_topic_does_not_parse(change):
    """The shard ties a topic to its gateway: moved to another gateway or another tree it is none."""
    with pytest.raises(DecodeError):
        topics.parse(change(topics.up("press-1", "verdicts")))


@pytest.mark.parametrize(
    ("gateway", "name"), [("", "a"), ("A", "a"), ("a/b", "a"), ("a" * 41, "a"), ("a", ""), ("a", "+"), ("a", "1")]
)
def test_build_refuses_what_is_no_address(gateway, name):
    """A gateway id or name that could change the tree is refused."""
    with pytest.raises(ValueError, match="not a topic"):
        topics.up(gateway, name)


def test_the_shard_is_the_specifications():
    """The shard is the first byte of the SHA-256 of the gateway's id, in hex: a peer can compute it."""
    assert topics.shard_of("press-1") == "1f"
    assert topics.up("press-1", "verdicts") == "lineside/v1/g/1f/press-1/up/verdicts"
    assert set(topics.SHARDS) == {f"{n:02x}" for n in range(256)}


@given(GATEWAYS, NAMES)
def test_the_filters_match_their_side_only(gateway, name):
    """A hub's filter matches all that goes up in its shard, a gateway's all that comes down to it, and no more."""
    up, down = topics.up(gateway, name), topics.down(gateway, name)
    shard = topics.shard_of(gateway)

    assert [topics.matches(f, up) for f in (topics.up_filter(shard), topics.ALL_UP, topics.down_filter(gateway))] == [
        True,
        True,
        False,
    ]
    assert topics.matches(topics.down_filter(gateway), down)
    assert not topics.matches(topics.ALL_UP, down)


@given(LEVELS, st.lists(st.sampled_from(["a", "b", "+", "$sys", ""]), min_size=1, max_size=5), st.booleans())
def test_matching_is_what_a_pattern_would_match(levels, wanted, deep):
    """`+` is one level, `#` is the level above and all below, and neither opens a tree that begins with `$`."""
    topic = "/".join(levels)
    topic_filter = "/".join([*wanted, "#"] if deep else wanted)
    pattern = "/".join("[^/]*" if level == "+" else re.escape(level) for level in wanted) + ("(/.*)?" if deep else "")
    expected = re.fullmatch(pattern, topic) is not None and not (topic.startswith("$") and wanted[0] == "+")

    assert topics.matches(topic_filter, topic) == expected
