"""One sample of every message, record and batch, every field set: what the golden bytes are made of."""

from edge_protocol import messages as m
from edge_protocol.batch import Batch, Context, RecordRow, VerdictRow
from edge_protocol.codes import ClockState, Verdict
from edge_protocol.metadata import Carried

TIME = m.Time("b007", 3, 1_767_225_600_000_000, 42_000_000, ClockState.BEHIND)

RECORDS: dict[str, m.AnyRecord] = {
    "gap": m.Gap(epoch=7, stream="metrics", first=3, last=9, reason="quota"),
    "started": m.Started(agent_version="0.1.0", clean=False, recovered=2, clock=ClockState.BEHIND),
    "stopped": m.Stopped(reason="asked"),
    "uncertain": m.Uncertain(from_us=1, to_us=2, first_trigger=3, last_trigger=4, reason="power cut"),
    "fault": m.Fault(part="source", name="camera", reason="away", active=True, detail="no frame for 2 s"),
    "label": m.Label(epoch=7, trigger=8, pipeline="surface", verdict=Verdict.NG, actor="eva", note="dent", part="P-1"),
    "capture": m.Capture(
        epoch=7, trigger=8, pipeline="surface", digest="ab" * 32, length=100, reason="ng", inclusion_probability=0.25
    ),
    "outcome": m.Outcome(epoch=7, trigger=8, output="plc", ok=False, latency_us=900, detail="refused", pipeline="seal"),
    "update": m.Update(
        pipeline="surface", step="refused", bundle="surface-anomaly", version="1.2.0", digest="cd" * 32, rollout="r-7",
        refusal="SelfTestFailed", detail="normalise: -2.1, expected 0.4", actor="eva",
    ),
    "adjusted": m.Adjusted(
        pipeline="surface", bundle="surface-anomaly", name="line-3", version="1.0.2", digest="ef" * 32,
        refusal="Incompatible", detail="it was made for another release",
    ),
    "pane": m.Pane(
        pipeline="surface", bundle="cd" * 32, reference="ef" * 32, opened_us=1, closed_us=2, n=6,
        counts={"luma_mean": (1, 2, 3, 0), "sharpness": (6, 0)},
    ),
    "metrics": m.Metrics(values={"rss_mb": 81.5, "queue_rows": 3.0}),
    "explanation": m.Explanation(
        epoch=7, trigger=8, pipeline="yard", label="person", score=0.75, zones=("tape",),
        detections=(m.ExplainedDetection(label="person", score=0.75, box=(1.0, 2.0, 30.5, 40.0), zones=("tape",)),),
        regions=(m.ExplainedRegion(area=12.5, peak=3.25, box=(1.0, 2.0, 3.0, 4.0), label="dent"),),
        reasons=(m.ExplainedFeature(name="kurtosis", value=7.5, percentile=99.0, part=0.5),),
    ),
}  # fmt: skip

MESSAGES: dict[str, m.Message] = {
    "link": m.Link(online=True),
    "receipt": m.Receipt(
        gateway="press-1",
        epoch=7,
        stream="verdicts",
        committed=((1, 5), (8, 8)),
        conflicts=((6, 6),),
        hub_us=9,
        answers=((4, 6), (8, 8)),
    ),
    "state": m.GatewayState(
        gateway="press-1",
        agent_version="0.1.0",
        place=m.Place("acme", "acme", "south", "hall-1", "line-2", "cell-3", "Europe/Berlin", {"row": "a"}),
        time=TIME,
        sent_us=1_767_225_601_000_000,
        streams=(m.StreamAccount(7, "verdicts", 10, ((9, 10),), ((6, 7),)),),
        pipelines=(
            m.PipelineState(
                "surface",
                "surface-anomaly",
                "1.0.0",
                "cd" * 32,
                "u8s8-vnni",
                10,
                {"OK": 9, "NG": 1},
                11.5,
                20.25,
                True,
                "ab" * 32,
                "refused",
                "SelfTestFailed",
                "ef" * 32,
            ),
        ),
        features=("image-anomaly",),
        config_digest="01" * 32,
        arch="x86_64",
        cpu_flags=("avx2", "avx512_vnni"),
    ),
    "want": m.Want(sha256="ab" * 32, offset=65536, length=131072),
    "block": m.Block(sha256="ab" * 32, offset=65536, total=65540, data=b"tail"),
    "carried": Carried(body=b"set", sha256="ab" * 32, length=3),
}

BATCHES: dict[str, Batch] = {
    "verdicts": Batch(
        gateway="press-1", epoch=7, stream="verdicts", time=TIME, config=b"\x01" * 32,
        contexts=(Context("surface", "surface-anomaly", "1.0.0", b"\xcd" * 32, "u8s8-vnni", b"\xaa" * 32),
                  Context("engine")),
        verdicts=(
            VerdictRow(41, 1_767_225_600_000_000, 100, 0, 0, 0, 0.125, 11_500, "P-1", "housing", "L7"),
            VerdictRow(42, 1_767_225_600_050_000, 101, 1, 3, 102, None, 0),
            VerdictRow(43, 1_767_225_600_099_000, 102, 0, 1, 1, 3.5, 12_300, "P-2"),
        ),
    ),
    "events": Batch(
        gateway="press-1", epoch=7, stream="events", time=TIME,
        records=(RecordRow(1, 5, m.encode(RECORDS["started"])), RecordRow(2, 7, m.encode(RECORDS["fault"]))),
    ),
}  # fmt: skip
