from edge_agent.cli.findings import sentence, values
from edge_agent.judgement import Break, Detection, Prediction

BOX = (0.0, 0.0, 9.0, 9.0)


def test_what_breaks_a_rule_is_said_first() -> None:
    """Of many things three are named, those that break a zone's rule before stronger ones that do not."""
    things = (*(Detection("car", 0.9 - n / 10, BOX) for n in range(4)), Detection("person", 0.4, BOX, ("press",)))

    said = sentence(Prediction(0.4, detections=things, breaks=(Break("press", 0.4),)), "px")

    assert said == "press 0.40, person 0.40 in press, car 0.90, car 0.80, 2 more"


def test_only_what_a_task_says_is_told() -> None:
    """A class has a label and nothing else; a value has its unit."""
    assert values(Prediction(0.4, label="worn"), "px") == {"label": "worn"}
    assert values(Prediction(-4.0, value=4.0, unit="h"), "px") == {"label": "", "value": 4.0, "unit": "h"}
    assert sentence(Prediction(0.4, label="worn"), "px") == "worn"
    assert sentence(Prediction(-4.0, value=4.0, unit="h"), "px") == "4 h"
