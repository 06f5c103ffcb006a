from pathlib import Path

import numpy as np
import pytest

from edge_agent.inference import signals
from edge_protocol.counters import Reference, make_signal
from tests.edge_agent.cli.conftest import Say
from tests.edge_agent.inference import small_bundles
from tests.gateways import Gateway, until

PANES = "\n[monitoring]\npane_rows = 100\n"


def reference(gateway: Gateway, loudness: float) -> None:
    """Give the bundle a reference of good windows that were as loud as this."""
    rows = np.loadtxt(gateway.folder / "windows.txt")[:, 1:] * loudness
    found = [signals.of_window(row) for row in rows for _ in range(50)]
    made = Reference((make_signal("rms", [each["rms"] for each in found]),))
    small_bundles.write_bundle(
        gateway.data / "bundles/small-window",
        small_bundles.window_manifest(reference="reference.json"),
        {"fp32.onnx": small_bundles.window_graph(), "reference.json": made.canonical()},
    )


@pytest.mark.parametrize(("loudness", "code", "finding"), [(1.0, 0, {"ok", "real-but-small"}), (3.0, 1, {"drift"})])
def test_drift_is_found_on_the_gateway_alone(
    tmp_path: Path, say: Say, loudness: float, code: int, finding: set[str]
) -> None:
    """Without any hub: the running agent and, once it has stopped, its database say the same, drift by exit code 1."""
    gateway = Gateway(tmp_path, rate_hz=500, more=PANES)
    gateway.toml = gateway.toml.replace("defect_share = 0.1", "defect_share = 0.3333")
    gateway.write()
    reference(gateway, loudness)

    with gateway.inside():
        until("six panes", lambda: len(gateway.query("SELECT id FROM drift")) > 5)
        live = say("drift", "--config", gateway.config, "--json")
    stopped = say("drift", "--config", gateway.config, "--json")

    assert {row["finding"] for row in live.json} <= finding, live.json
    assert {row["finding"] for row in stopped.json} <= finding, stopped.json
    assert (live.code, stopped.code) == (code, code)
    assert stopped.json[0].keys() == live.json[0].keys()
    assert [(row["pipeline"], row["signal"]) for row in stopped.json] == [("engine", "rms")]
