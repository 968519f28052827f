"""The evidence of a finding as facts and small tables, whatever its shape: nested plain JSON in, finished rows out.

A mapping of value, low and high is one number with its interval; a mapping of mappings is a table with one row each; a
list of mappings likewise. Keys may be names of classes and files, so they are treated as hostile text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from cxray.report import numbers, sentences
from cxray.report.cards import MOST_ROWS, Card, Heading
from cxray.report.text import printable

_INTERVAL = {"value", "low", "high"}
# Rows of these come one under the other in one table: answers to the same question.
_READINGS = ("chosen", "candidate", "others")
_ENTRIES_IN_A_LINE = 4
_LISTED = 8
_NAME_LENGTH = 70
_SHARES = frozenset({"train", "test", "sensitivity", "specificity", "probability", "films_with_sibling_in_train"})
_TERMS = {
    "p": "By chance with probability",
    "auroc": "AUROC",
    "chance": "AUROC when shuffled",
    "chance_95": "95 of 100 shuffles below",
    "cross_validated": "AUROC, patients not learned from",
    "auroc_alike": "Alike, AUROC",
    "runs": "Blocks",
    "runs_expected_at_random": "Blocks expected at random",
    "z": "Standard deviations from random",
    "has_it_by_label": "Has it by label",
    "wilson_lower_limit_all_right": "Lowest accuracy if all were right",
    "half_width_at_90_percent": "Half width of the interval at 90 %",
    "points_per_film": "Percentage points a film",
    "from_share_of_side": "Listed from this share of the side",
}


@dataclasses.dataclass(frozen=True)
class Evidence:
    """`facts` are terms with finished values; `tables` are small tables, in the order of the evidence."""

    facts: tuple[tuple[str, Markup], ...]
    tables: tuple[Card, ...]


def evidence_of(evidence: Mapping[str, Any], code: str) -> Evidence:
    """Everything in `evidence` ready to be placed; every number names the finding `code` and its own key."""
    facts: list[tuple[str, Markup]] = []
    tables: list[Card] = []
    readings = _readings(evidence)
    if readings:
        tables.append(_table("Readings compared", readings, code))
    for key, value in evidence.items():
        if key in _READINGS:
            continue
        rows = _rows_of(key, value)
        if rows:
            tables.append(_table(term(key), rows, code))
        elif not _is_empty(value):
            facts.append((term(key), _cell(value, code, (key,))))
    return Evidence(tuple(facts), tuple(tables))


def term(key: str) -> str:
    """A key of the evidence as people read it."""
    return _TERMS.get(key) or printable(key.replace("_", " ")).capitalize().replace("auroc", "AUROC")


def pointer(*path: str) -> str:
    """Where in the evidence a number stands: keys joined by "/", escaped as in a JSON Pointer (RFC 6901, section 3)."""
    return "/".join(part.replace("~", "~0").replace("/", "~1") for part in path)


def interval_of(value: Any) -> tuple[float, float, float] | None:
    """Value, low and high, where `value` is one number with its interval."""
    if isinstance(value, Mapping) and set(value) == _INTERVAL and all(part is not None for part in value.values()):
        return float(value["value"]), float(value["low"]), float(value["high"])
    return None


@dataclasses.dataclass(frozen=True)
class _Row:
    """One row of a table: what it is called, where in the evidence it stands, and its cells by key ("" = the row)."""

    name: tuple[str, ...]
    where: tuple[str, ...]
    cells: Mapping[str, Any]


def _readings(evidence: Mapping[str, Any]) -> list[_Row]:
    rows: list[_Row] = []
    for key in _READINGS:
        value = evidence.get(key)
        if isinstance(value, Mapping):
            rows.append(_Row((), (key,), value))
        elif value:
            rows += _listed(key, value)
    return rows


def _rows_of(key: str, value: Any) -> list[_Row]:
    """The rows of a table, or nothing when `value` fits on a line."""
    if interval_of(value):
        return []
    if isinstance(value, Mapping):
        if any(isinstance(item, Mapping) and not interval_of(item) for item in value.values()):
            return list(_nested(value, (), (key,)))
        if len(value) > _ENTRIES_IN_A_LINE or any(isinstance(item, str) and " " in item for item in value.values()):
            return [_Row((str(name),), (key, str(name)), {"": item}) for name, item in value.items()]
        return []
    if _is_list(value) and any(isinstance(item, Mapping) or _is_list(item) for item in value):
        return _listed(key, value)
    return []


def _listed(key: str, items: Sequence[Any]) -> list[_Row]:
    return [
        _Row((), (key, str(place)), item if isinstance(item, Mapping) else {"": item})
        for place, item in enumerate(items)
    ]


def _nested(value: Mapping[str, Any], name: tuple[str, ...], where: tuple[str, ...]) -> Iterator[_Row]:
    cells = {key: item for key, item in value.items() if not isinstance(item, Mapping) or interval_of(item)}
    if name and cells:
        yield _Row(name, where, cells)
    for key, item in value.items():
        if key not in cells:
            yield from _nested(item, name if key == "classes" else (*name, str(key)), (*where, str(key)))


def _table(title: str, rows: Sequence[_Row], code: str) -> Card:
    columns = list(dict.fromkeys(key for row in rows for key in row.cells))
    is_named = any(row.name for row in rows)
    headings = [Heading("", False)] * is_named + [
        Heading(term(key) if key else "", not any(_holds_text(row.cells.get(key)) for row in rows)) for key in columns
    ]
    finished = []
    for row in rows[:MOST_ROWS]:
        head = [Markup(" · ").join(sentences.name(part, _NAME_LENGTH) for part in row.name)] if is_named else []
        cells = (_cell(row.cells.get(key), code, (*row.where, key) if key else row.where) for key in columns)
        finished.append((*head, *cells))
    return Card("", title, "", tuple(headings), tuple(finished), max(0, len(rows) - MOST_ROWS))


def _cell(value: Any, code: str, path: tuple[str, ...]) -> Markup:
    interval = interval_of(value)
    if interval:
        shown = [
            _number(part, code, (*path, name)) for part, name in zip(interval, ("value", "low", "high"), strict=True)
        ]
        return Markup("{} <small>({} to {})</small>").format(*shown)
    if isinstance(value, Mapping):
        parts = [
            Markup("{} {}").format(printable(str(key).replace("_", " ")), _cell(item, code, (*path, str(key))))
            for key, item in value.items()
        ]
        return Markup(", ").join(parts)
    if _is_list(value):
        shown = [_cell(item, code, (*path, str(place))) for place, item in enumerate(value[:_LISTED])]
        rest = len(value) - _LISTED
        return Markup(", ").join([*shown, Markup("and {} more").format(numbers.count(rest))] if rest > 0 else shown)
    if value is None:
        return Markup("–")
    if isinstance(value, bool):
        return Markup("yes" if value else "no")
    if isinstance(value, (int, float)):
        return _number(value, code, path)
    return sentences.name(str(value), _NAME_LENGTH)


def _number(value: float, code: str, path: tuple[str, ...]) -> Markup:
    return numbers.data(value, _form(value, path), finding=code, key=pointer(*path))


def _form(value: float, path: tuple[str, ...]) -> str:
    if isinstance(value, int):
        return numbers.count(value)
    leaf = path[-1]
    if leaf == "points_per_film":
        return numbers.plain(value)
    if leaf in _SHARES or any("share" in part or "accuracy" in part for part in path) or _is_limit(path):
        return numbers.percent(value)
    if leaf in _INTERVAL or "auroc" in leaf or leaf in ("p", "chance", "chance_95"):
        return numbers.fraction(value)
    return numbers.plain(value)


def _is_limit(path: tuple[str, ...]) -> bool:
    return path[0] in ("wilson_lower_limit_all_right", "half_width_at_90_percent", "always_most_frequent_class")


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _holds_text(value: Any) -> bool:
    return isinstance(value, str) or (_is_list(value) and any(_holds_text(item) for item in value))


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, (str, Mapping, Sequence)) and not value)
