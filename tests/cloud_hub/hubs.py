"""A hub as its owner runs it: a real process, a real broker, started through the command line."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from cloud_hub.access import keys
from edge_protocol import envelope
from edge_protocol.endpoint import Tls
from edge_protocol.envelope import PrivateKey
from edge_protocol.mqtt import MqttLink
from tests.simulators import GatewaySimulator, request_for


def cloud_hub(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run one verb to its end."""
    program = "import sys; from cloud_hub.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)


class HubProcess:
    """A hub in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._gateways: list[GatewaySimulator] = []

    def make(self, *options: object) -> None:
        """Make it."""
        self.say("init", "--hub", self.folder, *options)

    def say(self, *arguments: object) -> Any:
        """Run a verb on it that must succeed; answers with its JSON."""
        done = cloud_hub(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def ask(self, verb: str) -> tuple[int, Any]:
        """Exit code and JSON of a verb that looks."""
        done = cloud_hub(verb, "--hub", self.folder, "--json")
        assert done.returncode in (0, 1), done.stderr
        return done.returncode, json.loads(done.stdout)

    def start(self) -> dict[str, Any]:
        """Start it; answers with what it says when it is there."""
        program = "import sys; from cloud_hub.cli import main; main(sys.argv[1:])"
        command = [sys.executable, "-c", program, "serve", "--hub", str(self.folder), "--json"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            _, said = self._process.communicate()
            raise AssertionError(said)
        serving: dict[str, Any] = json.loads(line)
        return serving

    def kill(self) -> None:
        """Kill it with −9."""
        self._end(signal.SIGKILL)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Ask it to stop; answers with its exit code and what it complained about."""
        return self._end(number)

    def _end(self, number: signal.Signals) -> tuple[int, str]:
        process, self._process = self._process, None
        if process is None:
            return 0, ""
        process.send_signal(number)
        _, said = process.communicate(timeout=120)
        return process.returncode, said

    def enrol(self, name: str, *options: object) -> PrivateKey:
        """Enrol a gateway; its files go to a folder of its name beside the hub."""
        key, csr = request_for(name)
        home = self.folder.parent / name
        home.mkdir(exist_ok=True)
        (home / "request.csr").write_bytes(csr)
        (home / "key.pem").write_bytes(keys.private_pem(key))
        self.say("enrol", home / "request.csr", "--hub", self.folder, "--site", "berlin", "--out", home, *options)
        return key

    def gateway(self, name: str, key: PrivateKey, url: str, *, window: int = 64) -> GatewaySimulator:
        """An enrolled gateway, connected."""
        home = self.folder.parent / name
        tls = Tls(home / "roots.pem", home / "certificate.pem", home / "key.pem") if url.startswith("mqtts") else None
        link = MqttLink(url, name, tls=tls, window=window, backoff_s=(0.05, 0.3))
        listed = json.loads((home / "hub-keys.json").read_bytes())["keys"]
        hub_keys = [envelope.load_public_key(each["pem"].encode()) for each in listed]
        simulator = GatewaySimulator(name, link, key, hub_keys)
        simulator.start()
        self._gateways.append(simulator)
        return simulator

    def close(self) -> None:
        """End it and its gateways, whatever they are doing."""
        for gateway in self._gateways:
            gateway.link.close()
        self.kill()


def drain(gateway: GatewaySimulator, timeout_s: float = 120.0, *, rows: int = 100) -> bool:
    """Send what has no receipt until there is nothing: again only when it has been quiet for a while, as an agent."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        if connects(gateway):
            gateway.send_held(rows)
        heard = -1
        while heard != len(gateway.receipts):
            heard = len(gateway.receipts)
            if gateway.await_receipts(2.0):
                return True
    return False


def connects(gateway: GatewaySimulator, timeout_s: float = 60.0) -> bool:
    """Whether a gateway finds the broker."""
    wait = threading.Event()
    return any(gateway.link.connected or wait.wait(0.1) for _ in range(round(timeout_s / 0.1)))
