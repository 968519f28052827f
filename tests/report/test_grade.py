"""The evidence grade: the worst light decides, and says so."""

import pytest
from markupsafe import Markup

from cxray.evaluate import evaluate
from cxray.report.grade import MEANINGS, grade
from cxray.report.trust import CAUTION, GOOD, PROBLEM, UNKNOWN, Light, lights
from tests.report.predictions import two_classes

KEYS = ("unseen", "patients", "threshold", "enough", "complete", "calibrated", "shortcuts", "elsewhere")


def _lights(**states):
    return [Light(key, key, states.get(key, GOOD), Markup(""), "") for key in KEYS]


@pytest.mark.parametrize(
    ("states", "letter", "holding"),
    [
        ({}, "A", []),
        ({"elsewhere": UNKNOWN}, "B", ["elsewhere"]),
        ({"elsewhere": UNKNOWN, "calibrated": CAUTION}, "B", ["calibrated", "elsewhere"]),
        ({"elsewhere": UNKNOWN, "shortcuts": UNKNOWN}, "C", ["shortcuts"]),
        ({"patients": CAUTION, "threshold": CAUTION}, "C", ["patients", "threshold"]),
        ({"unseen": CAUTION, "shortcuts": UNKNOWN}, "D", ["unseen"]),
        ({"enough": PROBLEM, "unseen": CAUTION}, "E", ["enough"]),
        ({"shortcuts": PROBLEM}, "E", ["shortcuts"]),
    ],
)
def test_the_worst_light_decides(states, letter, holding):
    found = grade(_lights(**states))
    assert found.letter == letter
    assert found.meaning == MEANINGS[letter]
    assert [light.key for light in found.held_down_by] == holding


def test_no_lights_are_no_evidence():
    assert grade([]).letter == "E"


def test_an_unaudited_test_set_cannot_be_better_than_c():
    judged = evaluate(two_classes(), validation=two_classes(seed=1, split="validation"))
    found = lights(judged)
    assert tuple(light.key for light in found) == KEYS
    assert grade(found).letter == "C"
