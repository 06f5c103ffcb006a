from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from edge_agent.serving.metrics import STAGES, Buffered, Metrics
from edge_protocol.codes import Verdict


def values(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """All samples by name and label values."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}


def test_each_stage_is_measured_apart() -> None:
    """Time spent in a stage of a pipeline is found under exactly that name."""
    metrics = Metrics()
    observe = metrics.observer("surface")

    for stage in STAGES:
        observe(stage, 0.25)
    observe("infer", 0.5)

    found = values(metrics)
    assert found["lineside_stage_seconds_count", "infer", "surface"] == 2
    assert found["lineside_stage_seconds_sum", "infer", "surface"] == 0.75
    assert all(found["lineside_stage_seconds_count", *sorted((stage, "surface"))] for stage in STAGES)


def test_every_verdict_has_its_counter_from_the_start() -> None:
    """A verdict that was never given reads as zero, not as missing."""
    metrics = Metrics()
    metrics.observer("surface")

    metrics.count_verdict("surface", Verdict.NG)

    found = {
        name: values(metrics)["lineside_verdicts_total", *sorted((name, "surface"))] for name in Verdict.__members__
    }
    assert found == {"OK": 0, "NG": 1, "REVIEW": 0, "UNINSPECTED": 0}


def test_the_buffer_is_asked_when_somebody_asks() -> None:
    """Rows and age are those of the moment of the scrape."""
    now = [Buffered(3, 1.5)]
    metrics = Metrics(lambda: now[0])

    first = values(metrics)
    now[0] = Buffered(0, 0.0)
    second = values(metrics)

    assert (first["lineside_buffer_rows",], first["lineside_buffer_oldest_seconds",]) == (3, 1.5)
    assert second["lineside_buffer_rows",] == 0


def test_outcomes_and_missed_ticks_are_counted() -> None:
    """What was not told and what was not triggered is visible."""
    metrics = Metrics()

    metrics.count_outcome("plc", ok=False)
    metrics.count_missed("tick", 4)

    found = values(metrics)
    assert found["lineside_outcomes_total", "false", "plc"] == 1
    assert found["lineside_missed_ticks_total", "tick"] == 4


def test_two_agents_in_one_process_do_not_meet() -> None:
    """The metrics have a registry of their own and leave the global one alone."""
    before = set(REGISTRY._names_to_collectors)

    first, second = Metrics(), Metrics()
    first.count_outcome("plc", ok=True)

    assert ("lineside_outcomes_total", "plc", "true") not in values(second)
    assert set(REGISTRY._names_to_collectors) == before


def test_questions_of_neighbours_are_a_histogram() -> None:
    """How long each kind of question took, by pipeline."""
    metrics = Metrics()

    metrics.count_question("surface", "infer", 0.003)

    found = values(metrics)
    assert found["lineside_question_seconds_count", "infer", "surface"] == 1
    assert found["lineside_question_seconds_bucket", "0.005", "infer", "surface"] == 1
    assert found["lineside_question_seconds_bucket", "0.002", "infer", "surface"] == 0


def test_prometheus_would_take_every_line() -> None:
    """Each histogram ends with all it has, in every family of what is rendered."""
    metrics = Metrics(lambda: Buffered(3, 1.5))
    observe = metrics.observer("surface")
    for stage in STAGES:
        observe(stage, 0.01)

    families = list(text_string_to_metric_families(metrics.render().decode()))

    stages = next(family for family in families if family.name == "lineside_stage_seconds")
    assert stages.type == "histogram"
    ends = [s.value for s in stages.samples if s.name.endswith("_bucket") and s.labels["le"] == "+Inf"]
    assert ends == [1] * len(STAGES)
