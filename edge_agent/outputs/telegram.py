"""What the line is told of a judgement: one line of JSON, the same whatever carries it."""

import msgspec

from edge_agent.judgement import Judgement


class Telegram(msgspec.Struct, frozen=True, kw_only=True):
    """The fields, always all of them. `(epoch, trigger)` never repeats; `score` is null where nothing was judged."""

    verdict: str
    part: str
    pipeline: str
    epoch: int
    trigger: int
    at_us: int
    reason: str
    score: float | None
    latency_ms: float
    product: str
    lot: str
    bundle: str
    version: str


def telegram(judgement: Judgement) -> bytes:
    """The JSON of `judgement`, without a line's end."""
    trigger, context = judgement.trigger, judgement.context
    return msgspec.json.encode(
        Telegram(
            verdict=judgement.verdict.name,
            part=trigger.part,
            pipeline=judgement.pipeline,
            epoch=trigger.epoch,
            trigger=trigger.n,
            at_us=trigger.at_us,
            reason=judgement.reason.name,
            score=judgement.score,
            latency_ms=judgement.latency_us / 1000,
            product=trigger.product,
            lot=trigger.lot,
            bundle=context.bundle,
            version=context.version,
        )
    )
