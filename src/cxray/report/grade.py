"""The evidence grade, A to E: how much the judgement itself may be relied on, whatever its numbers say.

A grade is not computed from the model's results. Every light that is not good holds it down to a stated level, and the
worst of them decides; the page shows which ones did, so that a reader knows what would raise it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from cxray.report.trust import CAUTION, GOOD, PROBLEM, UNKNOWN, Light

MEANINGS = {
    "A": "sound, examined for leaks and shortcuts, and shown to hold elsewhere",
    "B": "sound on films like these; nothing is known about other places",
    "C": "plausible, with gaps that could change it",
    "D": "flattering: the films helped to choose the model",
    "E": "too weak to rely on",
}

# The best grade that a light in this state still allows; a state that is not listed allows an A.
_CAPS: dict[str, dict[str, str]] = {
    "unseen": {PROBLEM: "E", CAUTION: "D", UNKNOWN: "C"},
    "patients": {CAUTION: "C"},
    "threshold": {CAUTION: "C"},
    "enough": {PROBLEM: "E", CAUTION: "C", UNKNOWN: "E"},
    "complete": {CAUTION: "C"},
    "calibrated": {CAUTION: "B", UNKNOWN: "C"},
    "shortcuts": {PROBLEM: "E", CAUTION: "C", UNKNOWN: "C"},
    "elsewhere": {UNKNOWN: "B"},
}


@dataclasses.dataclass(frozen=True)
class Grade:
    """`letter` A to E with its `meaning`; `held_down_by` are the lights that allow no better one."""

    letter: str
    meaning: str
    held_down_by: tuple[Light, ...]


def grade(lights: Sequence[Light]) -> Grade:
    """The worst grade that any light allows."""
    caps = [(_cap(light), light) for light in lights]
    letter = max((cap for cap, _ in caps), default="E")
    holding = tuple(light for cap, light in caps if cap == letter and light.state != GOOD)
    return Grade(letter, MEANINGS[letter], holding)


def _cap(light: Light) -> str:
    return _CAPS.get(light.key, {}).get(light.state, "A")
