"""Groups of films that hold next to no film of one class: prints, sizes, machines that only one class met.

A probe's AUROC hides them: a machine that filmed 2 % of a set moves it in the third digit, and still every network
learns that its look means illness. So each group that can be told without the lungs is counted: films with the same
print in a corner, of the same size, or with the same entry in the file's header or the table. Counted are patients,
outside of test; a group is named when even the upper limit of the class's share in it (Clopper & Pearson 1934,
Biometrika 26:404, at 5 % divided by the number of questions) is below a quarter of its share among all other patients.
Test films play no part in this; what becomes of a named group there is counted afterwards.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from cxray.data.audit.findings import Finding, count_of
from cxray.data.audit.prints import same_print
from cxray.data.audit.scan import Flags, Scan
from cxray.data.audit.shortcuts import Target, facts_beside
from cxray.tables import Column

FEWEST_PATIENTS = 20
_LEVEL = 0.05
_MISSING_BELOW = 0.25
_MOST_SAID = 3


@dataclasses.dataclass(frozen=True)
class Count:
    """Films and patients of a group in one part of the data, and how many of them are of the class it lacks."""

    films: int
    patients: int
    films_of_class: int
    patients_of_class: int


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """A group that lacks a class: `members` and `of_class` bool (films,), `missing` the class, `expected` how many of
    its patients would have it if it were like all others, `upper` the upper limit of that share."""

    name: str
    members: Flags
    missing: str
    of_class: Flags
    learned: Count
    tested: Count
    expected: float
    upper: float

    @property
    def breaks(self) -> float:
        """How likely so many patients of the class in the group's test films would be if their share were `upper`."""
        tested = self.tested
        return float(stats.binom.sf(tested.patients_of_class - 1, tested.patients, self.upper)) if tested.films else 1.0

    def as_json(self) -> dict[str, Any]:
        """For the evidence of a finding."""
        return {
            "group": self.name,
            "class": self.missing,
            "learned_from": dataclasses.asdict(self.learned),
            "expected_patients_of_class": self.expected,
            "upper_limit_of_share": self.upper,
            "test": dataclasses.asdict(self.tested),
        }


def check_groups(scan: Scan, targets: Sequence[Target], seed: int) -> tuple[list[Finding], dict[str, Column]]:
    """Findings about groups that lack a class, and the table of their films."""
    found = one_class_groups(scan, targets, seed) if targets else []
    return [*_named(scan, found), *_broken(scan, found)], _table(scan, found)


def one_class_groups(scan: Scan, targets: Sequence[Target], seed: int) -> list[Group]:
    """The groups that lack a class, those from which most patients are missing first."""
    groups = groups_of(scan, seed)
    questions = [(name, side) for name in groups for target in targets for side in _sides(scan, target)]
    asked = [_ask(scan, name, groups[name], side, _LEVEL / len(questions)) for name, side in questions]
    lacking = [group for group in asked if group is not None]
    return sorted(lacking, key=lambda group: -group.expected + group.learned.patients_of_class)


def groups_of(scan: Scan, seed: int) -> dict[str, Flags]:
    """Every group worth a question, by what its films share: bool (films,). At least 20 patients outside of test are
    in it, and at least 20 are not: nothing can be said against a group that is all there is."""
    learned = np.asarray(scan.split != "test")
    sizes = np.array([f"{h} × {w} pixels" for h, w in zip(scan.height, scan.width, strict=True)], dtype=object)
    groups: dict[str, Flags] = dict(same_print(scan.prints, seed))
    for column, cells in {"size": sizes, **facts_beside(scan)}.items():
        for cell, films in Counter(cells[learned]).items():
            if cell and films >= FEWEST_PATIENTS:
                groups[f"{column} {cell}"] = np.asarray(cells == cell)
    return {
        name: members
        for name, members in groups.items()
        if min(_patients(scan, part & learned) for part in (members, ~members)) >= FEWEST_PATIENTS
    }


def _sides(scan: Scan, target: Target) -> list[tuple[str, Flags, Flags]]:
    """Both answers to a target: what to call it, which films have it, and where the answer is known."""
    others = [name for name in scan.classes if name != target.name]
    opposite = others[0] if len(others) == 1 and not scan.is_multi_label else f"no {target.name}"
    ill = np.asarray(target.is_positive & target.known)
    return [(target.name, ill, target.known), (opposite, np.asarray(target.known & ~ill), target.known)]


def _ask(scan: Scan, name: str, members: Flags, side: tuple[str, Flags, Flags], level: float) -> Group | None:
    """The group, when it lacks this class; else None."""
    missing, of_class, known = side
    tested = np.asarray(scan.split == "test")
    learned, others = (
        _count(scan, members & known & ~tested, of_class),
        _count(scan, ~members & known & ~tested, of_class),
    )
    if min(learned.patients, others.patients) < FEWEST_PATIENTS:
        return None
    usual = others.patients_of_class / others.patients
    have_it, have_not = learned.patients_of_class, learned.patients - learned.patients_of_class
    upper = float(stats.beta.ppf(1 - level, have_it + 1, have_not)) if have_not else 1.0
    if upper >= _MISSING_BELOW * usual:
        return None
    in_test = _count(scan, members & known & tested, of_class)
    return Group(name, members, missing, of_class, learned, in_test, usual * learned.patients, upper)


def _count(scan: Scan, films: Flags, of_class: Flags) -> Count:
    both = films & of_class
    return Count(int(films.sum()), _patients(scan, films), int(both.sum()), _patients(scan, both))


def _patients(scan: Scan, films: Flags) -> int:
    return len(set(scan.patient[films]))


def _named(scan: Scan, found: Sequence[Group]) -> list[Finding]:
    if not found:
        return []
    told = "; ".join(_say(group) for group in found[:_MOST_SAID])
    films = np.logical_or.reduce([group.members for group in found]) & np.asarray(scan.split != "test")
    finding = Finding(
        "one-class-group",
        "warning",
        f"{count_of(len(found), 'group')} of films, {int(films.sum()):,} training films in all, "
        f"hold{'s' * (len(found) == 1)} next to none of a class: {told}.",
        {"films": int(films.sum()), "groups": [group.as_json() for group in found]},
        "Ask which machine or ward they come from. Find films of the class that is missing there, or do not use the "
        "model on such films: no training can tell it that they exist.",
        scan.names(np.flatnonzero(films)),
    )
    return [finding]


def _say(group: Group) -> str:
    count = group.learned
    return (
        f"{group.name}, {count.films_of_class:,} of {count.films:,} films are {group.missing} "
        f"({group.expected:,.0f} of {count.patients:,} patients expected)"
    )


def _broken(scan: Scan, found: Sequence[Group]) -> list[Finding]:
    """The groups whose test films are of the class that is missing in train: a model will misjudge them."""
    broken = [group for group in found if group.breaks < _LEVEL / len(found)]
    if not broken:
        return []
    tested = np.asarray(scan.split == "test")
    films = np.logical_or.reduce([group.members & group.of_class for group in broken]) & tested
    told = "; ".join(
        f"{group.name}, {group.tested.films_of_class:,} of {group.tested.films:,} test films are {group.missing}"
        for group in broken[:_MOST_SAID]
    )
    finding = Finding(
        "one-class-group-breaks",
        "warning",
        f"What only one class has in train is not so in test: {told}.",
        {"films": int(films.sum()), "groups": [group.as_json() for group in broken]},
        "Expect these films to be misjudged with confidence; give figures with and without the whole group, never "
        "without its errors alone.",
        scan.names(np.flatnonzero(films)),
    )
    return [finding]


def _table(scan: Scan, found: Sequence[Group]) -> dict[str, Column]:
    """One row for each film of each group."""
    rows = [(int(film), group) for group in found for film in np.flatnonzero(group.members)]
    films = np.array([film for film, _ in rows], dtype=np.int64)
    return {
        "path": np.array(scan.names(films), dtype=object),
        "split": scan.split[films],
        "label": scan.label[films],
        "group": np.array([group.name for _, group in rows], dtype=object),
        "has_class_missing": np.array([int(group.of_class[film]) for film, group in rows], dtype=np.int64),
        "class_missing": np.array([group.missing for _, group in rows], dtype=object),
    }
