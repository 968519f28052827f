"""The evidence grade, A to E: how much the judgement itself may be relied on, whatever its numbers say.

A grade is not computed from the model's results. Every light that is not good holds it down to a stated level, and the
worst of them decides; the page shows what each component allows, so that a reader knows what would raise it. Without
films from elsewhere nothing above D can be had: every published case of a radiograph model that failed had passed its
own hospital's test first (Zech et al. 2018; DeGrave et al. 2021).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from cxray.report.trust import CAUTION, GOOD, PROBLEM, UNKNOWN, Light

MEANINGS = {
    "A": "sound in every respect examined, and shown to hold elsewhere",
    "B": "shown to hold elsewhere, with one weakness that does not change the ranking",
    "C": "seen elsewhere, with gaps that could change the result",
    "D": "at best true of films like these; nothing sound is known about other places",
    "E": "too weak to rely on",
}

# The best grade that a light in this state still allows; a state that is not listed allows an A.
_CAPS: dict[str, dict[str, str]] = {
    "leak": {PROBLEM: "E", CAUTION: "D", UNKNOWN: "C"},
    "shift": {CAUTION: "C", UNKNOWN: "C"},
    "floor": {PROBLEM: "E", CAUTION: "C", UNKNOWN: "C"},
    "enough": {PROBLEM: "E", CAUTION: "C", UNKNOWN: "E"},
    "calibrated": {CAUTION: "B", UNKNOWN: "C"},
    "elsewhere": {UNKNOWN: "D"},
    "threshold": {CAUTION: "C"},
    "patients": {CAUTION: "C"},
    "complete": {CAUTION: "C"},
}
# The six that the grade is made of; the others are conditions of a fair test, shown among the lights.
COMPONENTS = {
    "leak": "Leak",
    "shift": "Shift",
    "floor": "Shortcut floor",
    "enough": "Size",
    "calibrated": "Calibration",
    "elsewhere": "External data",
}


@dataclasses.dataclass(frozen=True)
class Part:
    """One component: its `name`, the `light` behind it, and the best grade that it `allows`."""

    name: str
    light: Light
    allows: str


@dataclasses.dataclass(frozen=True)
class Grade:
    """`letter` A to E with its `meaning`; `parts` are the six components; `held_down_by` the lights that decide."""

    letter: str
    meaning: str
    parts: tuple[Part, ...]
    held_down_by: tuple[Light, ...]


def grade(lights: Sequence[Light]) -> Grade:
    """The worst grade that any light allows."""
    caps = [(_cap(light), light) for light in lights]
    letter = max((cap for cap, _ in caps), default="E")
    holding = tuple(light for cap, light in caps if cap == letter and light.state != GOOD)
    parts = tuple(Part(COMPONENTS[light.key], light, cap) for cap, light in caps if light.key in COMPONENTS)
    return Grade(letter, MEANINGS[letter], parts, holding)


def _cap(light: Light) -> str:
    return _CAPS.get(light.key, {}).get(light.state, "A")
