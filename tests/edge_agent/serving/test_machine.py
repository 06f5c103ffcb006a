from pathlib import Path

import pytest

from edge_agent.serving.machine import frequency_hz, rss_bytes, temperatures, throttled


def write(path: Path, text: str) -> None:
    """A file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("own", "file", "text", "expected"),
    [
        ("0::/line.slice/agent", "line.slice/agent", "usage_usec 9\nnr_throttled 3\nthrottled_usec 1500000\n", 1.5),
        ("0::/unseen", "", "nr_periods 7\nnr_throttled 3\nthrottled_usec 1500000\n", 1.5),
        ("4:memory:/a\n3:cpu,cpuacct:/a", "cpu,cpuacct/a", "nr_throttled 3\nthrottled_time 2000000000\n", 2.0),
    ],
)
def test_the_quota_that_is_used_up_is_seen(tmp_path: Path, own: str, file: str, text: str, expected: float) -> None:
    """Both versions of control groups, one's own folder or that of the container's root."""
    write(tmp_path / "own", own + "\n")
    write(tmp_path / "groups" / file / "cpu.stat", text)

    assert throttled(tmp_path / "groups", tmp_path / "own") == (3, expected)


@pytest.mark.parametrize("text", ["", "usage_usec 9\n", "nonsense"])
def test_without_a_quota_there_is_nothing_to_say(tmp_path: Path, text: str) -> None:
    """A group without a limit, or none at all, is not zero but nothing."""
    write(tmp_path / "own", "0::/a\n")
    write(tmp_path / "groups" / "a" / "cpu.stat", text)

    assert throttled(tmp_path / "groups", tmp_path / "own") is None
    assert throttled(tmp_path / "groups", tmp_path / "missing") is None


def test_sensors_are_told_by_name(tmp_path: Path) -> None:
    """Millidegrees become degrees; a sensor that cannot be read is left out."""
    write(tmp_path / "thermal_zone0" / "type", "x86_pkg_temp\n")
    write(tmp_path / "thermal_zone0" / "temp", "48500\n")
    write(tmp_path / "thermal_zone1" / "type", "broken\n")
    write(tmp_path / "frequency", "1900000\n")

    assert temperatures(tmp_path) == {"thermal_zone0-x86_pkg_temp": 48.5}
    assert frequency_hz(tmp_path / "frequency") == 1.9e9
    assert frequency_hz(tmp_path / "none") is None


def test_memory_is_measured() -> None:
    """Resident memory is that of this process: more than Python alone, less than a machine."""
    assert 10e6 < rss_bytes() < 10e9
