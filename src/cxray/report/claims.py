"""The claims ledger: every sentence of a page with the records it rests on, and what must hold for it to be said.

A claim is written once and shown wherever it is needed, so the levels of a page cannot disagree. What it rests on is
read off its own numbers, each of which names its record, fact or table cell. Where a precondition fails, the reason
stands in place of the claim.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

from cxray.evaluate.evaluation import Evaluation
from cxray.report import numbers, sentences, statements
from cxray.report.questions import Question
from cxray.report.trust import PROBLEM, Light

_SOURCE = re.compile(r'<data [^>]*?data-(record|fact|cell|table|people)="([^"]*)"')
_NOTHING = Markup("")


@dataclasses.dataclass(frozen=True)
class Need:
    """A precondition: `text` says what must hold; `reason` why it does not, "" when it does."""

    text: str
    reason: str | Markup = ""


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence about `label` ("" for the whole table) with its preconditions; `key` names it within its question."""

    key: str
    title: str
    label: str
    text: Markup
    needs: tuple[Need, ...]

    @property
    def withheld(self) -> Markup:
        """Why it is not claimed; "" when it stands."""
        return next((Markup("{}").format(need.reason) for need in self.needs if need.reason), _NOTHING)

    @property
    def shown(self) -> Markup:
        """The sentence, or the reason in its place."""
        if self.withheld:
            return Markup('<span class="withheld">Not claimed.</span> {}').format(self.withheld)
        return self.text

    @property
    def sources(self) -> tuple[str, ...]:
        """What the sentence rests on, as "record auroc" or "table transport", each once."""
        return tuple(dict.fromkeys(f"{kind} {name}" for kind, name in _SOURCE.findall(str(self.text))))


Claims = Mapping[str, Claim]


@dataclasses.dataclass(frozen=True)
class _Plan:
    key: str
    title: str
    write: Callable[[Question], Markup]
    needs: Callable[[Question], Sequence[Need]]
    is_about_new_patients: bool = True


def claims_of(question: Question, lights: Sequence[Light]) -> Claims:
    """Every claim about one question, by key, in the order of the page."""
    unseen = _unseen(lights)
    found = {}
    for plan in _PLANS:
        own = tuple(plan.needs(question))
        needs = (unseen, *own) if plan.is_about_new_patients else own
        text = _NOTHING if any(need.reason for need in own) else plan.write(question)
        found[plan.key] = Claim(plan.key, plan.title, question.label, text, needs)
    return found


def _unseen(lights: Sequence[Light]) -> Need:
    leak = next((light for light in lights if light.key == "leak" and light.state == PROBLEM), None)
    return Need("No judged film is known to be one the model has learnt from.", leak.text if leak else "")


def _given(question: Question, *names: str) -> list[Need]:
    """Each record must have a value."""
    found = []
    for record_name in names:
        record = question.record(record_name)
        reason = "It was not judged." if record is None else record.withheld
        found.append(Need(f"{numbers.title(record_name)} has a value.", reason))
    return found


def _has_table(question: Question, name: str, reason: str) -> Need:
    return Need(f"The table {name} was made.", "" if question.table(name) is not None else reason)


def _both_kinds(question: Question) -> list[Need]:
    films = question.ill + question.healthy
    return [Need("Films with a usable label and a decision were counted.", "" if films else "No film was counted.")]


def _floor(question: Question) -> list[Need]:
    if question.record("gain_over_floor") is None:
        missing = (question.evaluation.facts.get("floor") or {}).get("missing")
        reason = (
            missing or "No audit of the data was given, so the shortcuts were not measured on these films (--audit)."
        )
        return [Need("An audit measured shortcuts on the same films.", reason)]
    return _given(question, "gain_over_floor", "shortcut_floor")


def _transport(question: Question) -> list[Need]:
    reason = "No validation table with films of both kinds was given (--validation), so nothing can be compared."
    return [_has_table(question, "transport", reason)]


def _referral(question: Question) -> list[Need]:
    reason = "Sureness is the distance from the threshold, and no single threshold is known."
    return [_has_table(question, "referral", reason)]


def _slices(question: Question) -> list[Need]:
    return [_has_table(question, "slices", _why_no_slices(question.evaluation))]


def _robustness(question: Question) -> list[Need]:
    reason = (
        "The stress test of changed validation films is part of a bundle: give it with --bundle. Without one, score "
        "altered films (other exposure, crop, compression) into tables of their own and compare with cxray compare."
    )
    return [_has_table(question, "stress", reason)]


def _readers(question: Question) -> list[Need]:
    reason = (
        "No readers' marks were given. A table with the columns path, reader, mark sets them beside the model: "
        "--readers TABLE."
    )
    if question.evaluation.facts.get("readers"):
        reason = "The marks are words, and the model's decisions on these films follow no single threshold."
    return [_has_table(question, "readers", reason)]


def _why_no_slices(evaluation: Evaluation) -> str:
    del evaluation
    return (
        "No group was asked for, and neither the file names nor the columns of the table tell groups apart. Add a "
        "column, for example sex, age, view or site, and name it with --slice; a model that works on average can fail "
        "for some."
    )


def _tipping(question: Question) -> list[Need]:
    reason = "Films of both kinds are needed for a claim that label errors could overturn."
    return [_has_table(question, "tipping", reason)]


def _thousand(question: Question) -> list[Need]:
    reason = "Films of both kinds are needed."
    return [*_given(question, "sensitivity", "specificity"), _has_table(question, "predictive_values", reason)]


def _resolved(question: Question) -> list[Need]:
    known = (question.evaluation.facts.get("resolution") or {}).get(question.label)
    return [Need("Patients of both kinds were counted.", "" if known else "Patients of both kinds are needed.")]


_PLANS = (
    _Plan("verdict", "Verdict", sentences.verdict, _both_kinds, is_about_new_patients=False),
    _Plan("threshold", "Threshold", sentences.threshold, lambda question: [], is_about_new_patients=False),
    _Plan("floor", "Gain over the shortcut floor", statements.floor, _floor),
    _Plan("thousand", "What happens to 1,000 people", statements.thousand, _thousand),
    _Plan("ranking", "Ranking ability", sentences.ranking, lambda question: _given(question, "auroc")),
    _Plan(
        "calibration",
        "Does 80% mean 80%?",
        sentences.calibration,
        lambda question: _given(question, "calibration_slope", "calibration_intercept"),
    ),
    _Plan("transport", "From validation to these films", statements.transport, _transport),
    _Plan(
        "robustness",
        "When films look different",
        statements.robustness,
        _robustness,
        is_about_new_patients=False,
    ),
    _Plan("slices", "For whom it works", statements.slices, _slices),
    _Plan("readers", "Beside readers", statements.readers, _readers),
    _Plan("referral", "When it is not sure", statements.referral, _referral),
    _Plan("tipping", "If labels were wrong", statements.tipping, _tipping, is_about_new_patients=False),
    _Plan("resolution", "What this test can tell", statements.resolution, _resolved, is_about_new_patients=False),
)
