"""The evidence grade: the worst light decides, and says so."""

import dataclasses

import pytest
from markupsafe import Markup

from cxray.evaluate import evaluate
from cxray.report.grade import MEANINGS, grade
from cxray.report.trust import CAUTION, GOOD, PROBLEM, UNKNOWN, Light, lights
from tests.report.predictions import two_classes

KEYS = ("leak", "shift", "floor", "enough", "calibrated", "elsewhere", "threshold", "patients", "complete")


def _lights(**states):
    return [Light(key, key, states.get(key, GOOD), Markup(""), "") for key in KEYS]


@pytest.mark.parametrize(
    ("states", "letter", "holding"),
    [
        ({}, "A", []),
        ({"calibrated": CAUTION}, "B", ["calibrated"]),
        ({"floor": UNKNOWN, "calibrated": CAUTION}, "C", ["floor"]),
        ({"shift": CAUTION}, "C", ["shift"]),
        ({"patients": CAUTION, "threshold": CAUTION}, "C", ["threshold", "patients"]),
        ({"elsewhere": UNKNOWN}, "D", ["elsewhere"]),
        ({"elsewhere": UNKNOWN, "floor": UNKNOWN}, "D", ["elsewhere"]),
        ({"leak": CAUTION, "floor": UNKNOWN}, "D", ["leak"]),
        ({"enough": PROBLEM, "leak": CAUTION}, "E", ["enough"]),
        ({"floor": PROBLEM}, "E", ["floor"]),
        ({"leak": PROBLEM}, "E", ["leak"]),
    ],
)
def test_the_worst_light_decides(states, letter, holding):
    found = grade(_lights(**states))
    assert found.letter == letter
    assert found.meaning == MEANINGS[letter]
    assert [light.key for light in found.held_down_by] == holding


def test_no_lights_are_no_evidence():
    assert grade([]).letter == "E"


def test_each_of_the_six_components_says_what_it_allows():
    parts = grade(_lights(shift=CAUTION, elsewhere=UNKNOWN)).parts
    assert [(part.name, part.allows) for part in parts] == [
        ("Leak", "A"), ("Shift", "C"), ("Shortcut floor", "A"), ("Size", "A"), ("Calibration", "A"),
        ("External data", "D"),
    ]  # fmt: skip


def test_a_test_of_the_same_place_cannot_be_better_than_d():
    judged = evaluate(two_classes(), validation=two_classes(seed=1, split="validation"))
    found = lights(judged)
    assert tuple(light.key for light in found) == KEYS
    assert grade(found).letter == "D"


def test_films_from_elsewhere_lift_the_cap():
    judged = evaluate(two_classes(split="external"), validation=two_classes(seed=1, split="validation"))
    assert {light.key: light.state for light in lights(judged)}["elsewhere"] == GOOD
    assert grade(lights(judged)).letter == "C"
    declared = dataclasses.replace(judged, facts={**judged.facts, "splits": {"test": 300}, "external": "St. Elsewhere"})
    (light,) = [light for light in lights(declared) if light.key == "elsewhere"]
    assert light.state == GOOD
    assert "St. Elsewhere" in light.text
