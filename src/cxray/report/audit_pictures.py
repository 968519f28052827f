"""Which films an audit's page shows, and with which words: pairs side by side, films in a row, sheets of a class.

Only chosen here, never drawn: the page is handed a small PNG of each film by name. Names are those of the findings and
of the audit's own tables; a film that has no picture leaves its place empty.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cxray.data.audit.findings import Audit, Finding
from cxray.report import numbers

MOST_PAIRS = 6
MOST_IN_A_ROW = 8
MOST_GROUPS = 4
_KINDS = {
    "file": "the same file, byte for byte",
    "copy": "the same exposure, stored anew",
    "near": "perhaps one exposure",
}
_PAIRED = frozenset(
    {
        "duplicate-across-splits",
        "duplicate-contradicting-labels",
        "duplicate-within-split",
        "duplicate-across-patients",
        "near-duplicate",
    }
)
_ONE_BY_ONE = frozenset(
    {
        "blank-film",
        "tiny-film",
        "inverted-film",
        "unusual-film",
        "colour-film",
        "odd-aspect",
        "black-border",
        "burned-in-text",
        "known-films",
    }
)
# By code: whether only the films that contradict their group are shown, and of which part of the data.
_GROUPED = {"one-class-group": False, "one-class-group-breaks": True}
# What a probe cannot see, as (left, top, width, height) in 1/32 of the side; the rest is all that it is given.
COVERED: Mapping[str, tuple[tuple[int, int, int, int], ...]] = {
    "shortcut-border": ((1, 1, 30, 30),),
    "shortcut-corners": ((5, 0, 22, 5), (0, 5, 32, 22), (5, 27, 22, 5)),
}


@dataclasses.dataclass(frozen=True)
class Shown:
    """One film in a picture: its name, and what stands under it."""

    film: str
    caption: str


@dataclasses.dataclass(frozen=True)
class Strip:
    """Films side by side: a pair, or a row. `caption` says why they stand together, "" when the finding does."""

    caption: str
    films: tuple[Shown, ...]


@dataclasses.dataclass(frozen=True)
class Sheet:
    """Some films of one class in one split: `count` is how many there are, `shown` the names of those to show."""

    split: str
    label: str
    count: int
    shown: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Film:
    label: str
    split: str
    patient: str

    @property
    def place(self) -> str:
        return ", ".join(part for part in (self.split, self.label) if part)


def strips(audit: Audit, finding: Finding) -> tuple[Strip, ...]:
    """The pictures of one finding; none where a picture would not help."""
    films = _films(audit)
    if finding.code in _PAIRED:
        return tuple(_pairs(audit, finding, films))
    if finding.code == "patient-leak":
        return tuple(_both_sides(finding, films))
    if finding.code == "label-suspect":
        row = tuple(_suspects(audit))
        return (Strip("", row),) if row else ()
    if finding.code in _GROUPED:
        return tuple(_groups(audit, finding))
    if finding.code in _ONE_BY_ONE:
        row = tuple(Shown(name, films[name].place) for name in finding.files if name in films)[:MOST_IN_A_ROW]
        return (Strip("", row),) if row else ()
    return ()


def probed_films(sheets: Sequence[Sheet]) -> tuple[Shown, ...]:
    """One film of each of the first two classes: what a probe sees of a film is shown on these."""
    first: dict[str, str] = {}
    for sheet in sheets:
        if sheet.shown:
            first.setdefault(sheet.label, sheet.shown[0])
    return tuple(Shown(film, label) for label, film in first.items())[:2]


def films_wanted(audit: Audit, sheets: Sequence[Sheet]) -> tuple[str, ...]:
    """The names of all films that the page would show, each once, those of the worst findings first."""
    wanted = [shown.film for finding in audit.findings for strip in strips(audit, finding) for shown in strip.films]
    return tuple(dict.fromkeys([*wanted, *(film for sheet in sheets for film in sheet.shown)]))


def _films(audit: Audit) -> dict[str, _Film]:
    return {
        row["path"]: _Film(row["label"], row["split"], row["patient"])
        for row in _rows(audit, "films", ("path", "label", "split", "patient"))
    }


def _groups(audit: Audit, finding: Finding) -> Iterator[Strip]:
    """A row of films for each group, spread over it; where a group breaks, its test films of the missing class."""
    contradict = _GROUPED[finding.code]
    members: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in _rows(audit, "groups", ("path", "split", "label", "group", "has_class_missing")):
        of_test, of_class = row["split"] == "test", row["has_class_missing"] == "1"
        if (of_test and of_class) if contradict else not of_test:
            members[row["group"]].append(row)
    for group in finding.evidence.get("groups", ())[:MOST_GROUPS]:
        rows = members[group["group"]]
        chosen = rows[:: max(1, len(rows) // MOST_IN_A_ROW)][:MOST_IN_A_ROW]
        yield Strip(group["group"], tuple(Shown(row["path"], f"{row['split']}, {row['label']}") for row in chosen))


def _rows(audit: Audit, table: str, wanted: Sequence[str]) -> Iterator[dict[str, str]]:
    columns = audit.tables.get(table, {})
    if all(name in columns for name in wanted):
        for cells in zip(*(columns[name] for name in wanted), strict=True):
            yield {name: str(cell) for name, cell in zip(wanted, cells, strict=True)}


def _pairs(audit: Audit, finding: Finding, films: Mapping[str, _Film]) -> Iterator[Strip]:
    by_kind: dict[str, list[dict[str, str]]] = defaultdict(list)
    concerned = set(finding.files)
    columns = ("first", "second", "kind", "is_mirrored", "degrees", "detail_correlation")
    for row in _rows(audit, "pairs", columns):
        known = row["first"] in films and row["second"] in films
        if known and {row["first"], row["second"]} <= concerned and _belongs(finding.code, row, films):
            by_kind[row["kind"]].append(row)
    for row in _by_turns(by_kind.values(), MOST_PAIRS):
        first, second = films[row["first"]], films[row["second"]]
        yield Strip(_said_of(row), (Shown(row["first"], first.place), Shown(row["second"], second.place)))


def _belongs(code: str, row: Mapping[str, str], films: Mapping[str, _Film]) -> bool:
    one, two = films[row["first"]], films[row["second"]]
    return (row["kind"] == "near") == (code == "near-duplicate") and {
        "duplicate-across-splits": one.split != two.split,
        "duplicate-within-split": one.split == two.split,
        # Findings, unlike classes, are not in the table of films; then the finding's own list of films decides.
        "duplicate-contradicting-labels": one.label != two.label or not one.label,
        "duplicate-across-patients": one.patient != two.patient,
    }.get(code, True)


def _by_turns(groups: Iterable[list[dict[str, str]]], most: int) -> list[dict[str, str]]:
    """Up to `most` rows, as many of each kind as there are, so that the common kind does not hide the rare one."""
    queues = [list(group) for group in groups]
    taken: list[dict[str, str]] = []
    while len(taken) < most and any(queues):
        taken += [queue.pop(0) for queue in queues if queue]
    return taken[:most]


def _said_of(row: Mapping[str, str]) -> str:
    if row["kind"] == "file":
        return _KINDS["file"]
    mirrored = ", mirrored" if row["is_mirrored"] == "1" else ""
    mirrored += f", turned by {abs(float(row['degrees'])):g}°" if float(row["degrees"]) else ""
    detail = numbers.fraction(float(row["detail_correlation"]))
    return f"{_KINDS.get(row['kind'], row['kind'])}{mirrored}; fine detail agrees to {detail} (1 = fully)"


def _both_sides(finding: Finding, films: Mapping[str, _Film]) -> Iterator[Strip]:
    """For a few patients one film from each split that they stand in."""
    by_patient: dict[str, dict[str, str]] = defaultdict(dict)
    for name in finding.files:
        if name in films:
            by_patient[films[name].patient].setdefault(films[name].split, name)
    crossing = [(patient, names) for patient, names in by_patient.items() if len(names) > 1]
    for patient, names in crossing[:MOST_PAIRS]:
        yield Strip(f"patient {patient}", tuple(Shown(name, films[name].place) for name in names.values()))


def _suspects(audit: Audit) -> Iterator[Shown]:
    seen: dict[str, Any] = {}
    for row in _rows(audit, "suspects", ("path", "target", "has_it_by_label", "probability_of_label")):
        seen.setdefault(row["path"], row)
    for row in list(seen.values())[:MOST_IN_A_ROW]:
        said = row["target"] if row["has_it_by_label"] == "1" else f"not {row['target']}"
        likely = numbers.percent(float(row["probability_of_label"]))
        yield Shown(row["path"], f"labelled {said}; the probe gives that {likely}")
