"""The judge's smaller tables as rows of text for the expert level: which columns are shown, and how each is printed.

A table that is absent is skipped, so newer judges and older ones share one page.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from cxray.report import numbers
from cxray.report.questions import Columns, Question
from cxray.report.text import printable

MOST_ROWS = 60
# Columns that hold names of records.
_RECORD_NAMES = ("measure", "fixed")


@dataclasses.dataclass(frozen=True)
class Heading:
    """A column of a card: `text`, and whether it holds numbers (set right)."""

    text: str
    is_number: bool


@dataclasses.dataclass(frozen=True)
class Card:
    """A finished small table: `rows` hold markup, one entry a heading; `table` names the full table beside the page."""

    table: str
    title: str
    reading: str
    headings: tuple[Heading, ...]
    rows: tuple[tuple[Markup, ...], ...]
    left_out: int = 0


@dataclasses.dataclass(frozen=True)
class _Column:
    """`name` of the column; with `limits`, the columns that hold its interval; `form` prints one number."""

    name: str
    heading: str
    form: Callable[[float], str] | None = None
    limits: tuple[str, str] | None = None


def _shares(*columns: tuple[str, str]) -> tuple[_Column, ...]:
    return tuple(_Column(name, heading, numbers.percent) for name, heading in columns)


_CARDS: dict[str, tuple[str, str, tuple[_Column, ...]]] = {
    "floor": (
        "The model beside every probe",
        "What the model adds to each, on the same films, paired and clustered by patient.",
        (
            _Column("probe", "Probe"),
            _Column("is_shortcut", "Shortcut"),
            _Column("auroc", "AUROC", numbers.fraction, ("low", "high")),
            _Column("gain", "The model adds", numbers.signed, ("gain_low", "gain_high")),
            _Column("films", "Films", numbers.count),
        ),
    ),
    "tipping": (
        "How many wrong labels are enough",
        "The claim is the strongest round one that the lower limit supports. Labels are turned over where that hurts "
        "most; errors that fall anywhere else must be more.",
        (
            _Column("measure", "Measure"),
            _Column("at_least", "At least", numbers.plain),
            _Column("low", "Lower limit", numbers.fraction),
            _Column("films", "Wrong labels", numbers.count),
            _Column("share", "Of such films", numbers.percent),
            _Column("turned", "Which films"),
            _Column("withheld", "Why not"),
        ),
    ),
    "operating_points": (
        "What other thresholds would give",
        "Described on these films, never chosen on them. Each row fixes one rate and shows what is left of the other.",
        (
            _Column("fixed", "Fixed"),
            _Column("at_least", "At least", numbers.share),
            _Column("threshold", "Threshold", numbers.plain),
            _Column("other_rate", "The other rate", numbers.percent, ("low", "high")),
        ),
    ),
    "predictive_values": (
        "Predictive values where the finding is rarer or more common",
        "If sensitivity and specificity stay what they are here. Wards and screening see far fewer ill people than "
        "most test sets hold.",
        (
            _Column("prevalence", "Prevalence", numbers.share),
            _Column("ppv", "PPV", numbers.percent, ("ppv_low", "ppv_high")),
            _Column("npv", "NPV", numbers.percent, ("npv_low", "npv_high")),
        ),
    ),
    "transport": (
        "From validation to these films",
        "The same measure at the same threshold on both tables. A difference whose interval leaves out zero means that "
        "the threshold, or the model, does not carry over.",
        (
            _Column("measure", "Measure"),
            _Column("validation_value", "Validation", numbers.fraction, ("validation_low", "validation_high")),
            _Column("judged_value", "These films", numbers.fraction, ("judged_low", "judged_high")),
            _Column("difference_value", "Difference", numbers.signed, ("difference_low", "difference_high")),
        ),
    ),
    "stress": (
        "Validation films changed on purpose",
        "The model and its frozen threshold on the same validation films, changed in ways that leave the diagnosis as "
        "it is. A rate that falls while the AUROC holds means that the threshold is tied to how films look.",
        (
            _Column("treatment", "Films"),
            _Column("films", "Number", numbers.count),
            _Column("auroc", "AUROC", numbers.fraction),
            *_shares(("sensitivity", "Sensitivity"), ("specificity", "Specificity")),
        ),
    ),
    "readers": (
        "Every reader beside the model",
        "On the same films, paired and clustered by patient. The difference is model minus reader: above zero the "
        "model does better. Where its interval holds zero, the two cannot be told apart.",
        (
            _Column("mode", "Mode"),
            _Column("reader", "Reader"),
            _Column("measure", "Measure"),
            _Column("films", "Films", numbers.count),
            _Column("reader_value", "Reader", numbers.fraction, ("low", "high")),
            _Column("model_value", "Model", numbers.fraction),
            _Column("difference", "Model minus reader", numbers.signed, ("difference_low", "difference_high")),
            _Column("p_holm", "P (Holm)", numbers.fraction),
            _Column("withheld", "Why not"),
        ),
    ),
    "reader_agreement": (
        "How far readers agree",
        "Kappa is agreement beyond chance: 1 is perfect, 0 is chance (Fleiss for all readers, Cohen for two). A model "
        "cannot be judged more sharply than its reference standard is.",
        (
            _Column("between", "Mode and readers"),
            _Column("measure", "Measure"),
            _Column("value", "Kappa", numbers.signed, ("low", "high")),
            _Column("withheld", "Why not"),
        ),
    ),
    "referral": (
        "When the least certain films go to a reader",
        "The films nearest the threshold are referred; the rates are those of the films that the model still answers.",
        (
            _Column("referred", "Referred", numbers.share),
            *_shares(("sensitivity", "Sensitivity of the rest"), ("specificity", "Specificity of the rest")),
            _Column("missed", "Missed", numbers.count),
            _Column("false_alarms", "False alarms", numbers.count),
        ),
    ),
    "conformal": (
        "Answers that may be more than one class",
        "Limits come from validation patients. Coverage is how often the set of answers holds the truth; an empty set "
        "or several classes is the model saying that it cannot tell.",
        (
            _Column("class", "Class"),
            _Column("coverage", "Coverage", numbers.percent, ("low", "high")),
            *_shares(("one_class", "One answer"), ("several_classes", "Several"), ("empty_set", "None")),
        ),
    ),
    "slices": (
        "For whom it works",
        "The same measure inside each group and its difference to all other films. “Too few to say” is an answer.",
        (
            _Column("slice", "Group"),
            _Column("measure", "Measure"),
            _Column("films", "Films", numbers.count),
            _Column("patients", "Patients", numbers.count),
            _Column("value", "Value", numbers.fraction, ("low", "high")),
            _Column("difference", "Difference to the rest", numbers.signed, ("difference_low", "difference_high")),
            _Column("p_holm", "P (Holm)", numbers.fraction),
            _Column("withheld", "Why not"),
        ),
    ),
}


CARD_NAMES = tuple(_CARDS)


def cards(question: Question, names: Sequence[str] = CARD_NAMES) -> list[Card]:
    """Every known small table of `question`, or those of `names`, in order."""
    found = ((name, question.table(name)) for name in names)
    return [_card(name, table) for name, table in found if table is not None and _fits(name, table)]


def _fits(name: str, table: Columns) -> bool:
    wanted = [part for column in _CARDS[name][2] for part in (column.name, *(column.limits or ()))]
    return all(part in table for part in wanted)


def _card(name: str, table: Columns) -> Card:
    title, reading, columns = _CARDS[name]
    length = len(table[columns[0].name])
    rows = tuple(tuple(_cell(name, table, column, row) for column in columns) for row in range(min(length, MOST_ROWS)))
    headings = tuple(Heading(column.heading, column.form is not None) for column in columns)
    return Card(name, title, reading, headings, rows, max(0, length - MOST_ROWS))


def _cell(table_name: str, table: Columns, column: _Column, row: int) -> Markup:
    if column.form is None:
        text = printable(str(table[column.name][row]))
        return Markup("<bdi>{}</bdi>").format(numbers.title(text) if column.name in _RECORD_NAMES else text)
    value = _number(table_name, table[column.name], column.name, row, column.form)
    if column.limits is None or not _is_known(table[column.limits[0]][row]):
        return value
    low, high = (_number(table_name, table[limit], limit, row, column.form) for limit in column.limits)
    return Markup("{} <small>({} to {})</small>").format(value, low, high)


def _number(table: str, values: npt.NDArray[Any], column: str, row: int, form: Callable[[float], str]) -> Markup:
    if not _is_known(values[row]):
        return Markup("–")
    value = float(values[row])
    return numbers.data(value, form(value), table=table, column=column, row=str(row))


def _is_known(value: Any) -> bool:
    return value is not None and not np.isnan(float(value))
