from pathlib import Path

import numpy as np
import pytest

from tests.edge_agent.inference.small_bundles import png
from tests.edge_agent.inference.test_bad_inputs import NOISE, PICTURES
from tests.gateways import FOLDER_TOML, Gateway, until

SPARE_BYTES = 48 * 2**20
"""What the agent may grow by while it refuses pictures that say they are gigabytes."""


def good(n: int) -> bytes:
    """A good picture, never the same twice."""
    return png(np.roll(NOISE, n, axis=0))


def put(folder: Path, name: str, content: bytes) -> None:
    """Put a file into a watched folder, whole."""
    (folder / f"{name}.tmp").write_bytes(content)
    (folder / f"{name}.tmp").rename(folder / f"{name}.bin")


def peak_bytes(pid: int, *, reset: bool = False) -> int:
    """The highest resident size of a process, from now on if it is reset."""
    if reset:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    line = next(each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@pytest.mark.slow
def test_a_gateway_survives_whatever_is_put_before_it(tmp_path: Path) -> None:
    """
    Every bad picture between two good ones: each has its verdict, its reason and an event with words, each file its
    folder, every good one is judged, and the process does not grow.
    """
    gateway = Gateway(tmp_path, toml=FOLDER_TOML, pipeline="surface", bundle="small-image")
    bad = {name.replace(" ", "-"): row for name, row in PICTURES.items() if isinstance(row[0], bytes)}
    folder = tmp_path / "in"
    with gateway.running() as running:
        put(folder, "first", good(0))
        until("the first verdict", gateway.journal)
        before = peak_bytes(running.process.pid, reset=True)
        for n, (name, (content, _, _)) in enumerate(bad.items(), 1):
            put(folder, name, content)
            put(folder, f"good-{n}", good(n))
        until("a verdict for each", lambda: len(gateway.journal()) == 2 * len(bad) + 1)
        grown = peak_bytes(running.process.pid) - before
        until("each in its folder", lambda: not [path for path in folder.iterdir() if path.is_file()])
        assert running.stop() == 0

    told = {line["part"]: (line["verdict"] == "UNINSPECTED", line["reason"]) for line in gateway.journal()}
    assert {name: told[name] for name in bad} == {name: (True, row[1].name) for name, row in bad.items()}
    assert not any(is_out for name, (is_out, _) in told.items() if name not in bad)
    assert {path.stem for path in (folder / "failed").iterdir()} == set(bad)
    assert {event["reason"] for event in gateway.events("fault") if event.get("detail")} >= {
        "unreadable",
        "wrong-shape",
    }
    assert grown < SPARE_BYTES
