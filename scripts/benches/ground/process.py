"""What a gateway costs its machine: time to the first verdicts, processor while idle, memory while busy."""

import os
import socket
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from cloud_hub.telemetry.broker import Broker, BrokerSettings
from scripts.benches.ground.gateway import Gateway, kilobytes
from scripts.benches.ground.supplies import say

STARTS = 7
SETTLE_S = 3.0
IDLE_S = 12.0
LOOKS = 20
BUSY_S = 25.0

_HOST = "127.0.0.1"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_UTIME, _STIME = 11, 12
"""Fields of /proc/PID/stat, counted from the state."""


def measure(folder: Path) -> dict[str, float]:
    """The figures of a gateway's process.

    Raises:
        BenchError: it does not run.
    """
    ports = _free_ports()
    gateway = Gateway(folder, ports[0])
    try:
        # No network yet: a gateway must not wait for it to judge.
        cold_start_s = _cold_start_s(gateway)
        with _broker(folder, ports):
            gateway.start()
            gateway.put()
            gateway.wait_for(gateway.verdicts() + 2)
            idle_pct = _idle_pct(gateway)
            rss_mb, busy_pct = _busy(gateway)
            gateway.stop()
    finally:
        gateway.stop()
    return {
        "cold_start_s": cold_start_s,
        "cpu_idle_pct": idle_pct,
        "cpu_20hz_pct": busy_pct,
        "rss_mb_two_models": rss_mb,
    }


def _cold_start_s(gateway: Gateway) -> float:
    found = []
    for _ in range(STARTS + 1):
        before = gateway.verdicts()
        gateway.put()
        start_s = monotonic()
        gateway.start()
        gateway.wait_for(before + 2)
        found.append(monotonic() - start_s)
        gateway.stop()
    # The first start makes the cache of optimised models.
    first_s, *warm_s = found
    say(f"first verdicts of both models after {min(warm_s):.2f} to {max(warm_s):.2f} s, {first_s:.2f} without a cache")
    return statistics.median(warm_s)


def _idle_pct(gateway: Gateway) -> float:
    sleep(SETTLE_S)
    before_s, start_s = _spent_s(gateway.pid), monotonic()
    sleep(IDLE_S)
    share = (_spent_s(gateway.pid) - before_s) / (monotonic() - start_s)
    say(f"idle and connected it uses {share:.2%} of a core")
    return 100 * share


def _busy(gateway: Gateway) -> tuple[float, float]:
    """Its memory in MB and per cent of a core while parts come."""
    before_s, start_s, before = _spent_s(gateway.pid), monotonic(), gateway.verdicts()
    found = []
    for _ in range(LOOKS):
        gateway.feed(BUSY_S / LOOKS)
        found.append(gateway.rss_mb())
    share = (_spent_s(gateway.pid) - before_s) / (monotonic() - start_s)
    judged, peak_mb = gateway.verdicts() - before, kilobytes(gateway.pid, "VmHWM") / 1024
    # A frame of 6 MB more or less is under way at any moment.
    rss_mb, low_mb, high_mb = statistics.median(found), min(found), max(found)
    say(f"busy it holds {rss_mb:.0f} MB ({low_mb:.0f}–{high_mb:.0f} in {LOOKS} looks, at most ever {peak_mb:.0f}),")
    say(f"{share:.0%} of a core, {judged} verdicts")
    return rss_mb, 100 * share


def _spent_s(pid: int) -> float:
    # The name stands in brackets and may hold anything: the fields count from the last one.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS_PER_S


@contextmanager
def _broker(folder: Path, ports: tuple[int, int]) -> Iterator[None]:
    """The hub's embedded broker, with no hub behind it: nothing is received, so nothing may be deleted."""
    where = folder / "broker"
    where.mkdir()
    broker = Broker(BrokerSettings(where, "iotcore", _HOST, ports))
    broker.start()
    try:
        yield
    finally:
        broker.stop()


def _free_ports() -> tuple[int, int]:
    with socket.create_server((_HOST, 0)) as one, socket.create_server((_HOST, 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]
