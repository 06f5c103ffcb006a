"""The scene with people in view: a gateway of its own joins, and says when somebody comes to the tape of a yard."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.inference.model import Model
from edge_agent.inference.overlay import draw_overlay
from edge_agent.sample import Channel, Sample
from edge_protocol.bundle import ImageInput
from scripts.day import portrait
from scripts.day.gateways import LiveGateway
from scripts.day.plant import YARD
from scripts.day.site import Site
from scripts.day.story import Scene

SHOWN_S = 4
SHOWN = 3
PATIENCE_S = 60
ZONE = "taped area"

Picture = npt.NDArray[np.uint8]


def watched(site: Site) -> None:
    """Scene h: a person in the zone is NG, told with box and zone, and no picture of anybody is kept."""
    live, narrator = site.begin(YARD.name), site.narrator
    with narrator.waiting("yard-1 starts and sees somebody at the tape"):
        n, told = site.children.until("somebody in the zone", lambda: _on_record(live), PATIENCE_S)
        shown = [each for each in site.rest(SHOWN_S)[live.name] if each.verdict != "OK"][:SHOWN]
    for each in shown:
        narrator.verdict(live.name, each, live.gateway.describe(None))
    narrator.pause()
    narrator.say(f"Asked why, yard-1 says of frame {n}:")
    aside = [line for line in told if "saw " in line and ZONE not in line]
    for line in told:
        if line not in aside:
            narrator.say(line)
    narrator.say(f"  {len(aside)} more things are in its record, none of them in the zone")
    site.prove("the record has the box and the zone", holds=any(ZONE in line and "person" in line for line in told))
    kept = [path for path in (live.folder / "data").rglob("*") if path.suffix in (".png", ".jpg")]
    site.prove("yard-1 keeps no picture: people are in view", holds=not _beside_bundles(kept))
    _look_at(site, live, live.part(n))


SCENES = (
    Scene(
        "Somebody comes to the tape",
        "A fourth gateway joins, yard-1: OpenCV's video of a yard, 2 frames a second, and a detector of the COCO "
        "classes with a zone that nobody should enter. A hint for workplace safety, no safety function: no SIL, no PL.",
        watched,
    ),
)


def _on_record(live: LiveGateway) -> tuple[int, list[str]] | None:
    """A rejected frame and what is known of it, once it is told and on record."""
    live.read()
    for n, verdict in live.tape.verdicts.items():
        if verdict == "NG" and live.part(n):
            told = live.explain(n)
            if any(ZONE in line for line in told):
                return n, told
    return None


def _beside_bundles(files: list[Path]) -> list[Path]:
    """Those that are no golden of a model."""
    return [path for path in files if "goldens" not in path.parts]


def _look_at(site: Site, live: LiveGateway, part: str) -> None:
    """The frame again, from the video itself: judged by the production path and drawn with box and zone."""
    picture = _frame(site.data[YARD.scene], part)
    model = Model.load(site.bundles[YARD.model])
    prediction, _ = model.judge(Sample({model.preprocessor.channel: Channel(picture, 0)}))
    contract = model.manifest.input
    if not isinstance(contract, ImageInput):
        message = f"{YARD.model} does not look at pictures"
        raise TypeError(message)
    png = draw_overlay(picture, prediction, contract, model.operating_point)
    folder = site.folder / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{live.name}-{part}.png"
    file.write_bytes(png)
    console = site.narrator.console
    if console.is_terminal and console.color_system in ("256", "truecolor"):
        drawn = np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), np.uint8)
        site.narrator.lines(portrait.half_blocks(drawn))
    site.narrator.fact("the frame with box and zone", file)


def _frame(clip: Path, part: str) -> Picture:
    """The frame that the source called `part`: its name ends with its number, counted on when the clip begins again."""
    capture = cv2.VideoCapture(str(clip))
    frames = []
    while (found := capture.read())[0]:
        frames.append(np.asarray(found[1], np.uint8))
    capture.release()
    return frames[(int(part.rpartition("-")[2]) - 1) % len(frames)]
