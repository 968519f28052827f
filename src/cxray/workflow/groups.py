"""Groups that a table holds without anybody naming them: words in file names, and columns with a few values.

"person12_virus_31" and "person7_bacteria_2" differ in a word, not in a counter: that word may be a disease, a scanner
or a hospital that nobody wrote into a column. Such strata, and metadata columns such as sex, age or view, are judged
apart when no group was asked for. They were found on the judged table, so what they show is exploratory. Groups that
an audit of the films names, because they lack a class, were known before any model and are judged apart too.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from cxray.data.audit.names import cut_names, stems
from cxray.evaluate.floor import match_paths
from cxray.records import Predictions
from cxray.tables import Column, read_table

NAMES = "name"
AUDITED = "audit_group"
_IN_NONE = "in no such group"
_GROUPS = "tables/groups.csv"
# Names of groups that only a machine reads, and columns that say who made the scores.
_TECHNICAL = frozenset(
    {"model", "threshold", "training_audit", "seed", "version", "engine", "seconds", "sha256", "uid", "image_id", "row"}
)
_AGES = ("age", "alter")
_MOST_GROUPS, _MOST_COLUMNS = 12, 6
# A word that fewer films share is a spelling, not a group.
_FEWEST_FILMS = 10
_LEAST_NAMED = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Grouped:
    """`table` with a column for the strata of its file names, where there are any; `columns` to judge by, and `found`:
    each of them with where it comes from, as facts of the evaluation."""

    table: Predictions
    columns: tuple[str, ...]
    found: list[dict[str, str]]


def grouped(table: Predictions) -> Grouped:
    """Find groups in the paths and columns of `table`."""
    why = {AUDITED: "groups that the audit names, because they lack a class"}
    found = [{"column": name, "why": why.get(name, "a column of the table")} for name in _columns(table)]
    found.sort(key=lambda one: one["column"] != AUDITED)
    strata = name_strata(table.path, table.label)
    if strata is not None and NAMES not in table.metadata:
        table = dataclasses.replace(table, metadata={**table.metadata, NAMES: strata})
        found.insert(0, {"column": NAMES, "why": "words in which the file names differ"})
    found = found[:_MOST_COLUMNS]
    return Grouped(table, tuple(one["column"] for one in found), found)


def with_audit_groups(table: Predictions, audit: Path) -> Predictions:
    """`table` with the column `audit_group`: the groups of the films that an audit names, or "in no such group".

    A film of several groups has them all, with " + " between; without a group among its films the table is as before.

    Raises:
        DataError: the audit's table of groups cannot be read.
    """
    if AUDITED in table.metadata or not (audit / _GROUPS).exists():
        return table
    known = read_table(audit / _GROUPS, may_be_empty=True)
    members: list[list[str]] = [[] for _ in range(len(table))]
    for name in dict.fromkeys(known["group"]):
        rows = match_paths(table.path, known["path"][known["group"] == name])
        for film in np.flatnonzero(rows >= 0):
            members[film].append(str(name))
    if not any(members):
        return table
    cells = np.array([" + ".join(names) or _IN_NONE for names in members], dtype=object)
    return dataclasses.replace(table, metadata={**table.metadata, AUDITED: cells})


def name_strata(paths: Iterable[object], labels: Iterable[object]) -> Column | None:
    """The stratum of each film (films,) by the words of its name, "" for none; None when names tell no strata apart.

    Words that all names of a label share say nothing and are left away; a label with a single kind of name has no
    strata of its own.
    """
    parts = cut_names(stems([Path(str(path)) for path in paths]))
    by_label: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for part, label in zip(parts, labels, strict=True):
        by_label[str(label)][part.words] += 1
    strata = {label: _named(families) for label, families in by_label.items()}
    names = [strata[str(label)].get(part.words, "") for part, label in zip(parts, labels, strict=True)]
    kinds = Counter(name for name in names if name)
    is_useful = 2 <= len(kinds) <= _MOST_GROUPS
    return np.array(names, dtype=object) if is_useful else None


def _named(families: Counter[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Kinds of names of one label, by the words in which they differ; empty when there is only one kind."""
    kinds = [family for family, films in families.items() if films >= _FEWEST_FILMS]
    if not 2 <= len(kinds) <= _MOST_GROUPS:
        return {}
    shared = set.intersection(*(set(family) for family in kinds))
    return {family: _joined([word for word in family if word not in shared]) or _joined(family) for family in kinds}


def _joined(words: Sequence[str]) -> str:
    return "-".join(words)


def _columns(table: Predictions) -> list[str]:
    return [name for name, cells in _candidates(table) if _is_group(cells.astype(str), table.label.astype(str), name)]


def _candidates(table: Predictions) -> list[tuple[str, Column]]:
    named = [(name, cells) for name, cells in table.metadata.items() if name.lower() not in _TECHNICAL]
    return [("gate", table.gate), *named]


def _is_group(cells: Column, labels: Column, name: str) -> bool:
    """Whether a column divides the films into a few groups that are not simply the classes."""
    counts = Counter(cell for cell in cells if cell)
    if sum(counts.values()) < _LEAST_NAMED * len(cells) or len(counts) < 2:
        return False
    if len(counts) > _MOST_GROUPS:
        return any(word in name.lower().split("_") for word in _AGES) and _are_numbers(counts)
    if sum(count >= _FEWEST_FILMS for count in counts.values()) < 2:
        return False
    pairs = {(cell, label) for cell, label in zip(cells, labels, strict=True) if cell}
    return not len(pairs) == len(counts) == len({label for _, label in pairs})


def _are_numbers(cells: Iterable[str]) -> bool:
    try:
        return all(math.isfinite(float(cell)) for cell in cells)
    except ValueError:
        return False
