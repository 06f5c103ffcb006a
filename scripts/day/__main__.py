"""`scripts/demo`: the call comes in, a day is played, the exit code says how it went.

0: everything held that was promised. 1: something did not, or a process failed. 2: the call is wrong. 130: interrupted.
"""

import os
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from string import ascii_lowercase

import click
import msgspec

from scripts.day import days, delivery, ending, materials, processes, story, yard
from scripts.day.children import Children, DayError
from scripts.day.interrupts import Interrupts
from scripts.day.narrator import Narrator
from scripts.day.processes import Process, Running
from scripts.day.site import LAST, Site

ROOT = Path(__file__).parents[2]
IN_A_HURRY_S = 8
INTERRUPTED = 130
SUMMARY = "summary.json"

OPENING = (
    "One hub and three gateways, each a process of its own, talk real MQTT on this machine. Real are the surfaces "
    "(photographs of brick, grass and gravel that ship with scikit-image) and the engine noise (FordA, recorded rows). "
    "Drawn are the defects on the surfaces: scratches, holes and foreign patches. Each part is a fresh random crop of "
    "the half of the photographs that the model has never seen."
)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write summary.json into this folder.")
@click.option("--keep", is_flag=True, help="Leave everything running, and print the dashboard's address.")
@click.option("--stop", is_flag=True, help="End what --keep left running; nothing else.")
@click.option("--fresh", is_flag=True, help="Start over: remove earlier days, and build the models again.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=ROOT / ".lineside" / "demo",
    help="Where days are kept, each in a new folder.  [default: .lineside/demo]",
)
def main(*, out: Path | None, keep: bool, stop: bool, fresh: bool, data: Path) -> None:
    """Play a day at the line: parts are judged, a network is cut, a gateway is killed, the light falls."""
    interrupts = Interrupts()
    interrupts.listen()
    data = data.absolute()
    try:
        _end_the_last(data, asked=stop)
        if stop:
            return
        if fresh:
            days.remove(data)
        days.prepare(data)
        if out is not None:
            _make_writable(out)
        day = days.begin(data, datetime.now().astimezone())
        _write_down(day, {})
    except DayError as error:
        _complain(error)
        sys.exit(2)
    sys.exit(_run(interrupts, day, out, keep=keep, fresh=fresh))


def _run(interrupts: Interrupts, day: Path, out: Path | None, *, keep: bool, fresh: bool) -> int:
    """Play the day in its folder; however it ends, nothing runs on that was not meant to."""
    children = Children(day / "logs", interrupts, lambda running: _write_down(day, running))
    narrator = Narrator()
    try:
        bundles = materials.build_models(children, anew=fresh)
        site = Site(day, children, narrator, bundles, materials.stage_data(day))
        _play(site, keep=keep, out=out)
        if keep:
            narrator.leave(site.hub.link(), day)
            children.release()
        return _verdict_of(site)
    except KeyboardInterrupt:
        interrupts.ignore()
        narrator.say("Interrupted: ending all processes.")
        children.stop_all(LAST, timeout_s=IN_A_HURRY_S)
        narrator.fact("they have ended; the data of this day lie in", day)
        return INTERRUPTED
    except DayError as error:
        _complain(error)
        return 1
    finally:
        interrupts.ignore()
        if not children.released:
            children.stop_all(LAST, timeout_s=IN_A_HURRY_S)
            processes.forget(day.parent)


def _play(site: Site, *, keep: bool, out: Path | None) -> None:
    narrator = site.narrator
    narrator.title("A day at the line", OPENING)
    with narrator.waiting("the hub and the gateways start"):
        site.set_up()
    scenes = (*story.SCENES, *delivery.SCENES, *(yard.SCENES if site.later else ()))
    for letter, scene in zip(ascii_lowercase, scenes, strict=False):
        narrator.scene(letter, scene.heading, scene.text)
        scene.play(site)
    narrator.scene(
        ascii_lowercase[len(scenes)],
        "The books are closed",
        "What the gateways have on record is compared with what the hub has.",
    )
    summary = ending.end(site, keep=keep)
    ending.show(site, summary)
    encoded = msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n"
    for folder in (site.folder, *([out] if out else [])):
        (folder / SUMMARY).write_bytes(encoded)
        narrator.fact("summary", folder / SUMMARY)


def _verdict_of(site: Site) -> int:
    if site.broken:
        site.narrator.say(f"The day did not hold what it promised: {'; '.join(site.broken)}", "bold red")
        site.narrator.fact("the logs", site.folder / "logs")
        return 1
    site.narrator.say("Everything held that was promised.", "bold green")
    site.narrator.fact("the data of this day", site.folder)
    if not site.children.released:
        site.narrator.fact("to look at it on the dashboard while it runs", "scripts/demo --keep")
    return 0


def _make_writable(out: Path) -> None:
    """Find out before the day and not after it.

    Raises:
        DayError: nothing can be written there.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{out} cannot be made: {error.strerror}"
        raise DayError(message, "name another folder with --out") from error
    if not os.access(out, os.W_OK | os.X_OK):
        message = f"{out} cannot be written"
        raise DayError(message, "name another folder with --out")


def _write_down(day: Path, children: Mapping[str, Process]) -> None:
    player = processes.of(os.getpid())
    if player is not None:
        processes.write(day.parent, Running(str(day), player, dict(children)))


def _end_the_last(data: Path, *, asked: bool) -> None:
    """End what an earlier day has left running.

    Raises:
        DayError: that day is being played at this moment.
    """
    running = processes.read(data)
    if running is None:
        if asked:
            click.echo("Nothing is running.")
        return
    if processes.is_alive(running.player):
        if not asked:
            message = f"another call plays a day in {data} at this moment"
            raise DayError(message, "wait for it, end it with scripts/demo --stop, or name another folder with --data")
        running = msgspec.structs.replace(running, children={"the player": running.player})
    click.echo(f"Ending what runs of {running.day}: {', '.join(running.children)}.")
    processes.end(running.children)
    processes.forget(data)


def _complain(error: DayError) -> None:
    click.echo(f"demo: {error}", err=True)
    if error.hint:
        click.echo(f"  try: {error.hint}", err=True)


if __name__ == "__main__":
    main()
