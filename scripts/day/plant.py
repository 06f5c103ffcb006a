"""What stands in the demonstration: three gateways and one that comes later, what they see, their configuration.

The hub's broker and the data come in as addresses and paths, a `gateway.toml` goes out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import Template

from edge_agent.sources.scenes import TextureScene, WindowScene
from scripts.day.truth import Draw

DIMMER = "light"
VERDICTS = "verdicts.jsonl"

_TOML = Template("""\
# A gateway of the demonstration, written by scripts/demo. `edge-agent config check --keys` explains every key.
data_dir = "data"

[gateway]
id = "$name"
site = "demonstration"
line = "$line"

[hub]
broker = "mqtt://127.0.0.1:$cable"      # through a cable of its own, which the demonstration can cut
linger_s = 1
state_s = 1
resend_s = 5
backoff_s = 1

[updates]
probation_verdicts = 40
probation_s = 3

[[sources]]
name = "station"
$source
[[triggers]]
name = "belt"
kind = "timer"
rate_hz = $rate_hz

[[outputs]]
name = "journal"
kind = "file"
path = "$verdicts"

[[outputs]]
name = "reject-gate"
kind = "mqtt"
broker = "mqtt://127.0.0.1:$broker"     # the line's own, not behind the cable
prefix = "line/$name"

[[pipelines]]
name = "$pipeline"
bundle = "$model"
source = "station"
trigger = "belt"
outputs = ["journal", "reject-gate"]
""")


_REPLAY = Template("""\
kind = "replay"
scene = "$scene"
path = "$data"
seed = $seed
defect_share = $defect_share
$light""")

_VIDEO = Template("""\
kind = "video"
path = "$data"
""")


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway as it is set up: one station, one model."""

    name: str
    line: str
    pipeline: str
    model: str
    scene: str
    seed: int
    rate_hz: int
    defect_share: float = 0.05

    def describe(self, defect: str | None) -> str:
        """What a part of this gateway is, with or without a defect."""
        good, bad = _WORDS[self.scene]
        return bad.format(defect) if defect else good


_WORDS = {
    "textures": ("real surface", "real surface, {} drawn"),
    "windows": ("real engine noise", "real engine noise, {}"),
    "yard": ("frame of a real yard", ""),
}

GATEWAYS = (
    Gateway("press-1", "stamping", "surface", "surface-anomaly", "textures", 101, 20),
    Gateway("press-2", "stamping", "surface", "surface-anomaly", "textures", 202, 20),
    Gateway("pump-1", "test bench", "engine", "engine-fault", "windows", 303, 10),
)

YARD = Gateway("yard-1", "yard", "zone", "person-zone", "yard", 404, 2)
"""Comes later in the day, where its video is on this machine. What is in its frames nobody has written down."""


def configuration(gateway: Gateway, *, data: Path, cable: int, broker: int) -> str:
    """The gateway's TOML. `cable` is the port of its cable, `broker` the broker's own."""
    source = _VIDEO if gateway.scene == YARD.scene else _REPLAY
    light = f'dimmer = "{DIMMER}"\n' if gateway.scene == "textures" else ""
    return _TOML.substitute(
        name=gateway.name,
        line=gateway.line,
        pipeline=gateway.pipeline,
        model=gateway.model,
        source=source.substitute(
            scene=gateway.scene, data=data, seed=gateway.seed, defect_share=gateway.defect_share, light=light
        ),
        rate_hz=gateway.rate_hz,
        verdicts=VERDICTS,
        cable=cable,
        broker=broker,
    )


def draw_of(gateway: Gateway, data: Path) -> Draw:
    """What each part of this gateway really is."""
    return _DRAWS[gateway.scene](gateway, data)


def _textures(gateway: Gateway, data: Path) -> Draw:
    scene = TextureScene(data, gateway.seed, "right", gateway.defect_share)
    return scene.defect


def _windows(gateway: Gateway, data: Path) -> Draw:
    scene = WindowScene(data, gateway.seed, gateway.defect_share)
    return scene.defect


def _yard(_gateway: Gateway, _data: Path) -> Draw:
    return lambda _n: None


_DRAWS: dict[str, Callable[[Gateway, Path], Draw]] = {"textures": _textures, "windows": _windows, YARD.scene: _yard}
