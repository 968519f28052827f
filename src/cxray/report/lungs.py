"""Is it using the lungs? What is known of where a model's answers come from, and whether its maps may be shown.

The facts come from an attribution card (`facts["attribution"]`), which tests a model's maps before anybody sees them.
`passed` (bool) says whether they survived, `reason` why or why not, `summary` what was found about the model; `classes`
hold the tests of each class (`title`, `value`, `low`, `high`, `chance`, `bar`, `passed`, `sentence`). Whatever else a
card says is shown to experts as facts and tables.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from cxray.evaluate.evaluation import Evaluation
from cxray.report import numbers, sentences
from cxray.report.cards import Card, Heading
from cxray.report.evidence import Evidence, evidence_of, pointer
from cxray.report.text import printable

_FACT = "attribution"
_SPOKEN = ("passed", "reason", "summary", "schema", "classes")
_NOT_SHOWN = "Maps are not shown"
_HEADINGS = (
    Heading("Test", False),
    Heading("Value", True),
    Heading("By chance", True),
    Heading("Bar", False),
    Heading("Passed", False),
    Heading("In words", False),
)
ABSENT = (
    "No attribution card was given: where in the film the scores come from has not been tested for this model. "
    "Make one with cxray explain BUNDLE --card DATA, then judge with --bundle."
)


@dataclasses.dataclass(frozen=True)
class Lungs:
    """`summary` says what the card found; `missing` why there is none or why maps are not shown; `evidence` is the
    whole card, its tests as one table a class."""

    summary: str
    missing: str
    shows_maps: bool
    evidence: Evidence


def lungs(evaluation: Evaluation) -> Lungs:
    """What the attribution card in the facts says."""
    card = evaluation.facts.get(_FACT)
    if not isinstance(card, Mapping):
        return Lungs("", ABSENT, False, Evidence((), ()))
    passed = bool(card.get("passed"))
    reason = printable(str(card.get("reason") or "The card does not say that its maps passed."))
    rest = {key: value for key, value in card.items() if key not in _SPOKEN}
    plain = evidence_of(rest, _FACT)
    return Lungs(
        summary=printable(str(card.get("summary") or "")),
        missing="" if passed else reason if reason.startswith(_NOT_SHOWN) else f"{_NOT_SHOWN}: {reason}",
        shows_maps=passed,
        evidence=Evidence(plain.facts, (*_tests(card), *plain.tables)),
    )


def _tests(card: Mapping[str, Any]) -> list[Card]:
    """One table a class of the card: every test with its value, what chance gives, and its result in words."""
    found = []
    for number, part in enumerate(card.get("classes") or ()):
        name = printable(f"{part.get('class_name', '')}, {str(part.get('method', '')).replace('_', ' ')}")
        rows = tuple(
            _test(test, ("classes", str(number), "tests", str(place))) for place, test in enumerate(part["tests"])
        )
        said = " ".join(str(one.get("sentence", "")) for one in part.get("findings") or ())
        reading = printable(f"{part.get('reason', '')} {said}".strip())
        found.append(Card("", name, reading, _HEADINGS, rows))
    return found


def _test(test: Mapping[str, Any], where: tuple[str, ...]) -> tuple[Markup, ...]:
    def number(key: str) -> Markup:
        value = test.get(key)
        if value is None:
            return Markup("–")
        return numbers.data(float(value), numbers.plain(float(value)), finding=_FACT, key=pointer(*where, key))

    value = number("value")
    if test.get("low") is not None and test.get("high") is not None:
        value = Markup("{} <small>({} to {})</small>").format(value, number("low"), number("high"))
    answer = {True: "yes", False: "no"}.get(test.get("passed"), "not decided")  # type: ignore[arg-type]
    words = test.get("sentence") or test.get("withheld") or ""
    title = sentences.name(str(test.get("title") or test.get("name") or ""))
    bar = sentences.name(str(test.get("bar") or "–"))
    return title, value, number("chance"), bar, Markup(answer), Markup("{}").format(printable(str(words)))
