"""Exhibits: what is kept of an NG, what is not, and that explaining never gets in the line's way."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from edge_agent.clock import Clock, FixedClock
from edge_agent.diagnostics import exhibits as room
from edge_agent.diagnostics import windows
from edge_agent.diagnostics.allowance import Allowance
from edge_agent.diagnostics.case import Case
from edge_agent.diagnostics.exhibit import WINDOWS, Exhibit, read_exhibit
from edge_agent.diagnostics.exhibits import Exhibits
from edge_agent.inference.model import Model
from edge_agent.judgement import Detection
from edge_agent.sample import Channel, Sample
from edge_protocol.codes import Stream, Verdict
from edge_protocol.messages import MAX_EXPLAINED, Explanation
from tests.edge_agent.diagnostics.judged import EPOCH, bad_part, image_model, judge, noise, window_model
from tests.edge_agent.inference.small_bundles import png


class Bench:
    """Exhibits of one model, and what they record."""

    def __init__(self, folder: Path, model: Model, budget_bytes: int = 2**22, clock: Clock | None = None) -> None:
        self.folder = folder / "exhibits"
        self.model = model
        self.records: list[tuple[Stream, Any]] = []
        self.exhibits = Exhibits(
            self.folder,
            budget_bytes=budget_bytes,
            model=lambda _pipeline: self.model,
            record=lambda stream, record: self.records.append((stream, record)),
            clock=clock or Clock(),
        )

    def show(self, n: int) -> Exhibit:
        """Show a bad part; what was kept of it."""
        sample = bad_part()
        self.exhibits.show(judge(self.model, sample, n=n), sample)
        self.work()
        kept = read_exhibit(self.folder / f"{EPOCH}-{n}-line.json")
        assert kept is not None
        return kept

    def work(self) -> None:
        """Explain all that waits."""
        while self.exhibits.step(0):
            pass

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def image(tmp_path: Path) -> Bench:
    """Exhibits of pictures."""
    return Bench(tmp_path, image_model(tmp_path))


@pytest.fixture
def window(tmp_path: Path) -> Bench:
    """Exhibits of windows."""
    return Bench(tmp_path, window_model(tmp_path))


def test_an_ng_is_kept_with_its_picture_and_told_to_the_hub(image: Bench) -> None:
    """Of an NG there is a picture of the part's size, the numbers beside it, and a record on its way."""
    sample = bad_part()
    judgement = judge(image.model, sample, n=4)

    image.exhibits.show(judgement, sample)
    image.work()

    assert judgement.verdict is Verdict.NG
    exhibit = read_exhibit(image.folder / f"{EPOCH}-4-line.json")
    assert exhibit is not None
    assert (exhibit.verdict, exhibit.part, exhibit.accept, exhibit.reject) == ("NG", "P4", 0.2, 0.4)
    picture = cv2.imread(str(image.folder / exhibit.picture))
    assert picture is not None
    assert picture.shape == (32, 32, 3)
    assert image.records == [(Stream.CAPTURES, exhibit.explanation)]


def test_a_large_picture_is_kept_smaller(image: Bench) -> None:
    """So that more of them fit, and a person's screen shows it whole."""
    sample = Sample({"image": Channel(png(np.full((900, 1800, 3), 20, np.uint8)), 0)})
    image.exhibits.show(judge(image.model, sample), sample)
    image.work()

    picture = cv2.imread(str(image.folder / f"{EPOCH}-1-line.png"))

    assert picture is not None
    assert picture.shape == (640, 1280, 3)


def test_who_breaks_a_rule_is_named_first(image: Bench) -> None:
    """Of more things than are told, those that break a rule come first, then the strongest."""
    seen = [Detection("person", n / 100, (0, 0, 1, 1), ("tape",) if n < 3 else ()) for n in range(50)]
    judgement = judge(image.model, bad_part())
    prediction = replace(judgement.prediction, detections=tuple(seen))

    found = Case(image.model.manifest, image.model.operating_point, None).explain(
        replace(judgement, prediction=prediction)
    )

    told = [(each.score, each.zones) for each in found.explanation.detections]
    assert told[:4] == [(0.02, ("tape",)), (0.01, ("tape",)), (0.0, ("tape",)), (0.49, ())]
    assert len(told) == MAX_EXPLAINED


def test_no_picture_is_kept_where_the_bundle_forbids_it(tmp_path: Path) -> None:
    """Where capture is none, numbers are kept and told, no pixel is."""
    bench = Bench(tmp_path, image_model(tmp_path, capture="none"))
    sample = bad_part()

    bench.exhibits.show(judge(bench.model, sample), sample)
    bench.work()

    assert bench.names() == [f"{EPOCH}-1-line.json"]
    exhibit = read_exhibit(bench.folder / f"{EPOCH}-1-line.json")
    assert exhibit is not None
    assert "capture = none" in exhibit.no_picture
    assert len(bench.records) == 1


def test_what_is_too_much_at_once_loses_its_picture_and_not_its_numbers(
    image: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bytes that may wait, verdicts are explained without a picture, and say so."""
    sample = bad_part()
    heatmap = judge(image.model, sample).prediction.heatmap.nbytes
    monkeypatch.setattr(room, "MAX_PICTURES_BYTES", (len(sample.channels["image"].data) + heatmap) * 2)
    for n in range(1, 5):
        image.exhibits.show(judge(image.model, sample, n=n), sample)

    image.work()

    pictures = [read_exhibit(image.folder / f"{EPOCH}-{n}-line.json") for n in range(1, 5)]
    assert [bool(each and each.picture) for each in pictures] == [True, True, False, False]
    assert all(each and "too many" in each.no_picture for each in pictures[2:])
    assert len(image.records) == 4
    assert image.show(5).picture  # what was drawn no longer takes room


def test_a_disk_is_not_written_to_all_day(tmp_path: Path) -> None:
    """When pictures come faster than the disk shall be written, the rest are explained without one, for a while."""
    clock = FixedClock()
    bench = Bench(tmp_path, image_model(tmp_path), clock=clock)
    bench.exhibits._allowance = Allowance(1, room.REFILL_S)  # the first picture spends it, and more

    shown = [bench.show(n).picture != "" for n in (1, 2)]
    clock.advance(30 * 86_400 * 10**6)
    shown.append(bench.show(3).picture != "")

    assert shown == [True, False, True]
    assert "spared" in bench.show(4).no_picture
    assert len(bench.records) == 4


def test_the_line_never_waits_for_an_explanation(image: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nobody explaining, `show` still returns at once and what waits is bounded."""
    monkeypatch.setattr(room, "MAX_WAITING", 10)
    sample = bad_part()
    judgement = judge(image.model, sample)

    for _ in range(50):
        image.exhibits.show(judgement, sample)

    assert image.exhibits.unexplained == 40


def test_every_window_is_remembered_whatever_its_verdict(window: Bench) -> None:
    """Of each of the latest windows the reasons can be told, OK or not."""
    judgements = [judge(window.model, noise(n), n=n) for n in range(1, 30)]

    window.exhibits.note(judgements)
    window.work()

    for judgement in judgements:
        found = windows.find(window.folder / WINDOWS, EPOCH, judgement.trigger.n)
        assert [each.verdict for each in found] == [judgement.verdict.name]
        assert found[0].explanation.reasons
        assert any(reason.name.startswith("power") for reason in found[0].explanation.reasons)


def test_a_picture_is_no_window(image: Bench) -> None:
    """What is noted of verdicts on pictures takes no room."""
    image.exhibits.note([judge(image.model, bad_part())])

    assert not image.exhibits.step(0)


def test_a_verdict_of_a_model_that_has_gone_is_explained_by_what_was_known_of_it(tmp_path: Path) -> None:
    """A swap between verdict and explanation does not mix the two models up."""
    old, new = image_model(tmp_path / "old"), image_model(tmp_path / "new", version="2.0.0")
    bench = Bench(tmp_path, old)
    sample = bad_part()
    bench.exhibits.show(judge(old, sample, n=1), sample)
    bench.work()
    queued, foreign = judge(old, sample, n=2), judge(image_model(tmp_path / "other", version="3.0.0"), sample, n=3)
    bench.model = new

    bench.exhibits.show(queued, sample)
    bench.exhibits.show(foreign, sample)
    bench.work()

    kept = read_exhibit(bench.folder / f"{EPOCH}-2-line.json")
    assert kept is not None
    assert kept.version == "1.0.0"
    assert read_exhibit(bench.folder / f"{EPOCH}-3-line.json") is None
    assert bench.exhibits.unexplained == 1


def test_what_is_past_its_date_goes_from_a_line_that_finds_nothing_more(tmp_path: Path) -> None:
    """Nothing has to come for a picture to go, not even since the last start, and none goes before its date."""
    clock = FixedClock()
    bench = Bench(tmp_path, image_model(tmp_path, retention_days=1), clock=clock)
    sample = bad_part()
    bench.exhibits.show(judge(bench.model, sample, at_us=clock.wall_us()), sample)
    bench.work()
    later = Bench(tmp_path, bench.model, clock=clock)

    kept = []
    for _ in range(26):
        later.exhibits.expire()
        kept.append(len(later.names()))
        clock.advance(3_600_000_000)

    assert kept == [2] * 24 + [0] * 2


def test_a_budget_of_nothing_keeps_nothing(tmp_path: Path) -> None:
    """exhibits_mb = 0: nothing lies on the disk, the hub is told all the same."""
    bench = Bench(tmp_path, image_model(tmp_path), budget_bytes=0)
    sample = bad_part()

    bench.exhibits.show(judge(bench.model, sample), sample)
    bench.work()

    assert not bench.folder.exists()
    assert len(bench.records) == 1


def test_a_disk_that_cannot_be_written_stops_nobody(image: Bench) -> None:
    """Explaining goes on after an error of the disk, and the next one is kept when there is room."""
    sample = bad_part()
    image.folder.write_text("in the way")
    image.exhibits.show(judge(image.model, sample, n=1), sample)
    image.work()
    image.folder.unlink()

    image.exhibits.show(judge(image.model, sample, n=2), sample)
    image.work()

    assert image.names() == [f"{EPOCH}-2-line.json", f"{EPOCH}-2-line.png"]
    assert len(image.records) == 2


def test_the_last_of_a_disk_is_left_to_others(image: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a crowded disk nothing is kept, for the database needs what there is; the hub is told all the same."""
    sample = bad_part()
    with monkeypatch.context() as crowded:
        crowded.setattr(room, "RESERVE_BYTES", 2**62)
        image.exhibits.show(judge(image.model, sample, n=1), sample)
        image.work()
    before = image.folder.exists()

    image.show(2)

    assert not before
    assert image.names() == [f"{EPOCH}-2-line.json", f"{EPOCH}-2-line.png"]
    assert len(image.records) == 2


def test_an_explanation_that_fails_is_counted(image: Bench) -> None:
    """What cannot be explained at all is counted, and the next one is explained."""
    sample = bad_part()
    judgement = judge(image.model, sample, n=1)
    broken: Any = replace(judgement.prediction, regions=("no region",))
    image.exhibits.show(replace(judgement, prediction=broken), sample)
    image.exhibits.show(judge(image.model, sample, n=2), sample)

    image.work()

    assert image.exhibits.unexplained == 1
    assert len(image.records) == 1


def test_what_is_recorded_fits_the_wire(window: Bench) -> None:
    """An explanation comes back from its bytes as it went."""
    sample = noise(3)
    window.exhibits.show(judge(window.model, sample), sample)
    window.work()
    explanation = window.records[0][1]

    again = msgspec.msgpack.decode(msgspec.msgpack.encode(explanation), type=Explanation)

    assert again == explanation
    assert np.isfinite([reason.value for reason in again.reasons]).all()
