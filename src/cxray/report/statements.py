"""Longer sentences of a page: shortcuts, transport, referral, groups, label errors, what the test can resolve.

As in `sentences`, each only restates records, facts and table cells, every number through `numbers`. Each function
takes a question whose needs (see `claims`) are met.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from markupsafe import Markup

from cxray.report import numbers
from cxray.report.people import default_step, thousands
from cxray.report.questions import Question
from cxray.report.sentences import name, plural

_TURNED = {
    "without the finding, called negative": "films without {} that the model cleared",
    "with the finding, called positive": "films with {} that it found",
    "without the finding, lowest scores": "lowest scored films without {}",
    "with the finding, highest scores": "highest scored films with {}",
}
_CLAIMS = {
    "sensitivity": "At least {} of films with {} are found",
    "specificity": "At least {} of films without {} are cleared",
    "auroc": "The AUROC for {1} is at least {0}",
}
_REFERRED = 0.1
# As training warns of it.
_ALARMING_FALL = 0.1


def floor(question: Question) -> Markup:
    """What the model adds to the strongest shortcut."""
    gain, lowest = question.record("gain_over_floor"), question.record("shortcut_floor")
    table = question.table("floor")
    if gain is None or lowest is None or table is None:
        return Markup("")
    row = int(np.flatnonzero(table["is_shortcut"] == "yes")[0])
    text = Markup(
        "{} alone, without a look at the lungs, ranks these films with an AUROC of {}. "
        "The model adds <strong>{}</strong>"
    ).format(_capital(str(table["probe"][row])), numbers.shown(lowest), numbers.shown(gain))
    if gain.low is None:
        return text + Markup(" to that; too few patients for an interval.")
    text += Markup(" ({} interval {})").format(numbers.level(gain), numbers.interval(gain))
    return text + Markup(" to that, which cannot be told from nothing." if gain.low <= 0 else " to that.")


def thousand(question: Question) -> Markup:
    """A thousand people at the prevalence shown first."""
    steps = thousands(question)
    step = steps[default_step(steps)]
    where = {"people": f"{step.prevalence!r}", "label": question.label}

    def people(kind: str, count: int) -> Markup:
        return numbers.data(count, numbers.count(count), **where, kind=kind)

    return Markup(
        "Of 1,000 people of whom {} have {}, the model finds {} and misses {}; it alarms {} who do not have it."
    ).format(
        people("ill", step.found + step.missed),
        name(question.label),
        people("found", step.found),
        people("missed", step.missed),
        people("alarms", step.alarms),
    )


def transport(question: Question) -> Markup:
    """Sensitivity and specificity at the one threshold, there and here."""
    table = question.table("transport")
    if table is None:
        return Markup("")
    parts = []
    for row, measure in enumerate(table["measure"]):
        if measure in ("sensitivity", "specificity") and not np.isnan(table["judged_value"][row]):
            before, after = (_share(question, "transport", f"{side}_value", row) for side in ("validation", "judged"))
            parts.append(Markup("{} went from {} to {}{}").format(measure, before, after, _moved(question, row)))
    if not parts:
        return Markup("No rate could be measured on both.")
    return Markup("At the same threshold, from validation patients to these films, {}.").format(
        Markup("; ").join(parts)
    )


def _moved(question: Question, row: int) -> Markup:
    table = question.table("transport")
    if table is None or np.isnan(table["difference_low"][row]):
        return Markup("")
    low, high = (float(table[f"difference_{part}"][row]) for part in ("low", "high"))
    if low <= 0 <= high:
        return Markup(", which chance may explain")
    return Markup(", more than chance explains")


def robustness(question: Question) -> Markup:
    """The rate that fell most when validation films were changed on purpose, at the frozen threshold."""
    table = question.table("stress")
    if table is None:
        return Markup("")
    usual = 0  # the table begins with the unchanged films
    falls = [
        (float(table[rate][usual] - table[rate][row]), row, rate)
        for row in range(len(table["treatment"]))
        for rate in ("sensitivity", "specificity")
    ]
    fall, row, rate = max(falls)
    films = _cell(question, "stress", "films", usual, numbers.count(int(table["films"][usual])))
    if fall <= 0:
        return Markup("{} validation films were changed on purpose in {} ways; no rate at the threshold fell.").format(
            films, numbers.count(len(table["treatment"]) - 1)
        )
    moved = Markup("{} at the frozen threshold went from {} to {} ({})").format(
        rate, _share(question, "stress", rate, usual), _share(question, "stress", rate, row),
        name(str(table["treatment"][row])),
    )  # fmt: skip
    said = "The threshold held on {} validation films changed on purpose; most moved: {}."
    if fall > _ALARMING_FALL:
        said = "The threshold does not hold where films look different: on {} validation films changed on purpose, {}."
    return Markup(said).format(films, moved)


def readers(question: Question) -> Markup:
    """The model beside the readers: how many of them it can be told from, and on which measure."""
    table = question.table("readers")
    if table is None:
        return Markup("")
    told = np.flatnonzero((table["p_holm"].astype(float) < 0.05) & ~np.isnan(table["difference"].astype(float)))
    pairs = numbers.count(len(table["reader"]))
    if not told.size:
        return Markup(
            "In none of {} comparisons with a reader can the model be told from the reader. With few films that is "
            "not the same as being as good: see the intervals."
        ).format(pairs)
    row = int(told[np.argmax(np.abs(table["difference"].astype(float)[told]))])
    gap = float(table["difference"][row])
    return Markup("In {} of {} comparisons model and reader differ, most in {}: {} has {}, the model {}.").format(
        numbers.count(told.size), pairs, _measure(table["measure"][row]),
        name(str(table["reader"][row])), _fraction(question, "reader_value", row),
        _fraction(question, "model_value", row) + Markup(" ({})").format("more" if gap > 0 else "less"),
    )  # fmt: skip


def _fraction(question: Question, column: str, row: int) -> Markup:
    values = question.table("readers") or {}
    return _cell(question, "readers", column, row, numbers.fraction(float(values[column][row])))


def referral(question: Question) -> Markup:
    """What is left to the model when the least certain tenth of films goes to a reader."""
    table = question.table("referral")
    if table is None:
        return Markup("")
    row = int(np.argmin(np.abs(table["referred"].astype(float) - _REFERRED)))

    def count(column: str, place: int) -> Markup:
        value = int(table[column][place])
        return _cell(question, "referral", column, place, numbers.count(value))

    return Markup(
        "If the least certain {} of these films went to a reader, the model would miss {} instead of {} and raise {} "
        "false alarms instead of {} on the rest."
    ).format(
        _cell(question, "referral", "referred", row, numbers.share(float(table["referred"][row]))),
        count("missed", row),
        count("missed", 0),
        count("false_alarms", row),
        count("false_alarms", 0),
    )


def slices(question: Question) -> Markup:
    """The group that differs most from the rest, if any does."""
    table = question.table("slices")
    if table is None:
        return Markup("")
    p = table["p_holm"].astype(float)
    told = np.flatnonzero((p < 0.05) & ~np.isnan(table["difference"].astype(float)))
    if not told.size:
        return Markup(
            "No group differs from the rest by more than chance explains. With few patients in a group that is weak "
            "comfort: see the intervals."
        )
    # Two groups that make up the whole differ alike; the worse one is named.
    row = int(max(told, key=lambda at: (round(abs(float(table["difference"][at])), 9), table["difference"][at] < 0)))
    value, difference = (_cell(question, "slices", c, row, f(float(table[c][row]))) for c, f in _SLICE_FORMS)
    return Markup("It does not work alike for all: in {}, {} is {}, a difference of {} to the rest.").format(
        name(str(table["slice"][row])), _measure(table["measure"][row]), value, difference
    )


_SLICE_FORMS: tuple[tuple[str, Callable[[float], str]], ...] = (
    ("value", numbers.fraction),
    ("difference", numbers.signed),
)


def tipping(question: Question) -> Markup:
    """For each claim, how many wrong labels are enough to bring it down."""
    table = question.table("tipping")
    if table is None:
        return Markup("")
    parts = []
    for row, measure in enumerate(table["measure"]):
        if np.isnan(table["films"][row]):
            continue
        films = int(table["films"][row])
        goal = _cell(question, "tipping", "at_least", row, numbers.share(float(table["at_least"][row])))
        if measure == "auroc":
            goal = _cell(question, "tipping", "at_least", row, numbers.fraction(float(table["at_least"][row])))
        claimed = Markup(_CLAIMS[str(measure)]).format(goal, name(question.label))
        turned = Markup(_TURNED[str(table["turned"][row])]).format(name(question.label))
        parts.append(
            Markup("“{}” falls if {} wrong labels are among the {} ({} of them)").format(
                claimed,
                _cell(question, "tipping", "films", row, numbers.count(films)),
                turned,
                _cell(question, "tipping", "share", row, numbers.percent(float(table["share"][row]))),
            )
        )
    if not parts:
        return Markup("No claim here is strong enough for label errors to overturn it.")
    return Markup("{}.").format(Markup(". ").join(parts))


def resolution(question: Question) -> Markup:
    """The precision that so many patients allow, whatever the model."""
    known = question.evaluation.facts["resolution"][question.label]

    def fact(key: str, form: Callable[[float], str]) -> Markup:
        return numbers.data(known[key], form(known[key]), fact=f"resolution/{question.label}/{key}")

    text = Markup(
        "With {} {} with the finding and {} without, an AUROC of 0.9 is known to within ±{} and a sensitivity of 95% "
        "to within ±{}"
    ).format(
        fact("ill_patients", numbers.count),
        plural(int(known["ill_patients"]), "patient"),
        fact("healthy_patients", numbers.count),
        fact("auroc_half_width", numbers.fraction),
        fact("sensitivity_half_width", numbers.percent),
    )
    if known.get("largest_provable_sensitivity") is None:
        return text + "."
    return text + Markup("; even without a miss no sensitivity above {} could be proven.").format(
        fact("largest_provable_sensitivity", numbers.percent)
    )


def _measure(record_name: object) -> str:
    """A measure inside a sentence: small letters, unless it is an abbreviation."""
    title = numbers.title(str(record_name))
    return title if title.isupper() else title.lower()


def _share(question: Question, table: str, column: str, row: int) -> Markup:
    values = question.table(table)
    return _cell(question, table, column, row, numbers.percent(float((values or {})[column][row])))


def _cell(question: Question, table: str, column: str, row: int, text: str) -> Markup:
    values = question.table(table) or {}
    return numbers.data(
        float(values[column][row]), text, table=table, label=question.label, column=column, row=str(row)
    )


def _capital(text: str) -> Markup:
    shown = name(text)
    return Markup(str(shown).replace(f">{text[:1]}", f">{text[:1].upper()}", 1)) if text[:1].isalpha() else shown
