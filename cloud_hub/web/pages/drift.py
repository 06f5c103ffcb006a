"""Drift: each signal live against its reference, the index window by window, the alarms and what to do about them."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

from cloud_hub.monitoring.views import AlarmView, SignalView, alarms, signals
from cloud_hub.web import advice
from cloud_hub.web.advice import Words
from cloud_hub.web.page import Page, Part, Reading
from edge_protocol.codes import FindingState
from edge_protocol.statistics import MIN_COUNT

PAST_ALARMS = 12


@dataclass(frozen=True, slots=True)
class Card:
    """A signal and its finding in words."""

    view: SignalView
    words: Words
    state: str
    change: str
    direction: str
    needed: int

    @property
    def fits(self) -> bool:
        """Whether live counts lie on the bins of the reference."""
        return len(self.view.live) == len(self.view.reference)


@dataclass(frozen=True, slots=True)
class Group:
    """The signals of one pipeline."""

    gateway: str
    pipeline: str
    bundle: str
    cards: tuple[Card, ...]

    @property
    def drifting(self) -> int:
        """How many of them drift."""
        return sum(card.view.finding.state is FindingState.DRIFT for card in self.cards)


@dataclass(frozen=True, slots=True)
class Notice:
    """An alarm with what moved, signal by signal, and what to do about each."""

    alarm: AlarmView
    cards: tuple[Card, ...]


def overview(reading: Reading, _subject: str) -> Mapping[str, object]:
    """The alarms that stand with what to do, then every pipeline's signals."""
    views = signals(reading.connection)
    cards = [_card(view, reading) for view in views]
    grouped = groupby(cards, key=lambda card: (card.view.gateway, card.view.pipeline, card.view.bundle))
    groups = [Group(*whose, tuple(sorted(members, key=_urgency))) for whose, members in grouped]
    every = alarms(reading.connection)
    return {
        "notices": [_notice(alarm, cards) for alarm in every if alarm.active],
        "past": [alarm for alarm in every if not alarm.active][:PAST_ALARMS],
        "groups": sorted(groups, key=lambda group: -group.drifting),
        "limit": reading.hub.config.settings.drift.psi,
        "windows": reading.hub.config.settings.drift.windows,
        "window": reading.hub.config.settings.drift.window_samples,
    }


def _card(view: SignalView, reading: Reading) -> Card:
    drifts = view.finding.state is FindingState.DRIFT
    return Card(
        view,
        advice.words(view.signal),
        advice.STATES[view.finding.state],
        advice.what_changed(view) if drifts else "",
        advice.direction(view) if drifts else "",
        max(reading.hub.config.settings.drift.window_samples, MIN_COUNT),
    )


def _urgency(card: Card) -> bool:
    return card.view.finding.state is not FindingState.DRIFT


def _notice(alarm: AlarmView, cards: list[Card]) -> Notice:
    mine = (alarm.gateway, alarm.pipeline)
    moved = [
        card for card in cards if (card.view.gateway, card.view.pipeline) == mine and card.view.signal in alarm.psi
    ]
    return Notice(alarm, tuple(sorted(moved, key=lambda card: -alarm.psi[card.view.signal])))


PAGE = Page(
    name="drift",
    title="Drift",
    path="/drift",
    icon="audio-waveform",
    template="drift.html",
    parts={"overview": Part("drift/overview.html", overview)},
)
