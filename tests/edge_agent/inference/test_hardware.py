import os
from pathlib import Path

import pytest

from edge_agent.inference import hardware
from edge_agent.inference.hardware import cpu_flags, cpu_quota


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx_vnni\nprocessor\t: 1\nflags\t: other\n", {"fpu", "avx2", "avx_vnni"}),
        ("processor\t: 0\nFeatures\t: fp asimd asimddp\n", {"fp", "asimd", "asimddp"}),
        ("processor\t: 0\n", set()),
    ],
)
def test_flags_are_those_of_the_first_processor(tmp_path: Path, text: str, flags: set[str]) -> None:
    """x86 and ARM write them differently; a machine that writes none has none."""
    (tmp_path / "cpuinfo").write_text(text)

    assert cpu_flags(tmp_path / "cpuinfo") == flags


def test_a_machine_without_cpuinfo_has_no_flags(tmp_path: Path) -> None:
    """What cannot be read is not guessed."""
    assert cpu_flags(tmp_path / "cpuinfo") == frozenset()


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "50000 100000\n"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "25000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.25),
    ],
)
def test_the_quota_of_the_cgroup_limits(tmp_path: Path, files: dict[str, str], quota: float) -> None:
    """Half a processor is half a processor, in both versions of cgroups."""
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)

    assert cpu_quota(tmp_path) == quota


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/system.slice/edge-agent.service\n", {"system.slice/edge-agent.service/cpu.max": "60000 100000\n"}, 0.6),
        (
            "0::/plant.slice/agent.service\n",
            {"plant.slice/cpu.max": "40000 100000\n", "plant.slice/agent.service/cpu.max": "max 100000\n"},
            0.4,
        ),
        (
            "4:memory:/x\n3:cpu,cpuacct:/agent\n",
            {"cpu,cpuacct/agent/cpu.cfs_quota_us": "30000\n", "cpu,cpuacct/agent/cpu.cfs_period_us": "100000\n"},
            0.3,
        ),
    ],
)
def test_a_service_has_the_quota_of_its_own_group(
    tmp_path: Path, own: str, files: dict[str, str], quota: float
) -> None:
    """CPUQuota= of a unit, or of the slice around it, stands below the root of all groups."""
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
        (tmp_path / name).with_name("cpu.stat").write_text("nr_periods 100\nnr_throttled 25\n")
    (tmp_path / "own").write_text(own)

    assert cpu_quota(tmp_path, tmp_path / "own") == quota
    assert hardware.throttled_share(tmp_path, tmp_path / "own") == 0.25
    assert cpu_quota(tmp_path, tmp_path / "none") == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("content", ["max 100000\n", "", "1000000000 100000\n"])
def test_no_quota_leaves_what_the_scheduler_gives(tmp_path: Path, content: str) -> None:
    """Without a limit, or with one above the machine, the scheduler's set counts."""
    (tmp_path / "cpu.max").write_text(content)

    assert cpu_quota(tmp_path) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("machine", "name"), [("x86_64", "x86_64"), ("AMD64", "x86_64"), ("arm64", "aarch64")])
def test_an_architecture_has_one_name(monkeypatch: pytest.MonkeyPatch, machine: str, name: str) -> None:
    """What systems call by two names is one here."""
    monkeypatch.setattr(hardware.platform, "machine", lambda: machine)

    assert hardware.architecture() == name
