"""What does the model add to the shortcuts? Its AUROC beside probes that never look at the lungs, on the same films.

An audit fits small probes on the border, the corners, the size, the bytes, the brightness and the metadata of the
training films and writes what each says about every film: held out by patient for films it learned from, carried over
for test films. Here those scores meet the model's, film by film. The floor is the strongest probe on the judged films
(chosen on them, which favours the floor), the gain is AUROC(model) - AUROC(floor) with a paired interval clustered by
patient (DeLong 1988, Obuchowski 1997).
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from cxray.errors import DataError
from cxray.evaluate import clusters
from cxray.evaluate.evaluation import Evaluation, stack
from cxray.evaluate.ranking import auroc_interval, paired_test
from cxray.evaluate.record import Context, Estimate, Floats, Record, numbers, withhold
from cxray.evaluate.screening import Task, screen, tasks
from cxray.records import Predictions
from cxray.tables import Column, as_numbers, read_table

PREFIX = "score_"
# A probe on the whole thumbnail sees the lungs: a simple baseline, not a shortcut.
BASELINES = ("whole thumbnail",)
# Films without a probe score, or with another label there, up to which the comparison still speaks of the table.
_LEAST_MATCHED = 0.9

Columns = dict[str, np.ndarray[Any, Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class ProbeScores:
    """What probes say about films, one row a film and target.

    `path`, `target` and `label` are text (rows,); `scores` maps a probe's name to log odds (rows,), NaN where it has
    none. `facts` tell where they come from.
    """

    path: Column
    target: Column
    label: Column
    scores: Mapping[str, Floats]
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> ProbeScores:
        """Read `tables/probe_scores.csv` of an audit.

        Raises:
            DataError: it is not such a table.
        """
        table = read_table(path)
        names = [name for name in table if name.startswith(PREFIX) and name != PREFIX]
        missing = {"path", "target", "label"} - set(table)
        if missing or not names:
            raise DataError(
                f"{path} is no table of probe scores: it has the columns {', '.join(list(table)[:8])}.",
                "Give the folder that cxray audit wrote.",
            )
        scores = {name.removeprefix(PREFIX): as_numbers(table[name], name=name, source=path) for name in names}
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return cls(table["path"], table["target"], table["label"], scores, {"source": str(path), "sha256": digest})


def with_floor(evaluation: Evaluation, predictions: Predictions, probes: ProbeScores) -> Evaluation:
    """`evaluation` with the records `shortcut_floor` and `gain_over_floor` for each question, and the table `floor`.

    `predictions` is the judged table. Table `floor`: `probe`, `is_shortcut`, `auroc` with `low` and `high`, `gain` with
    `gain_low` and `gain_high`, `films`. The records are withheld, with the reason, where too few films are matched.
    """
    table = screen(predictions).table
    level = float(evaluation.facts.get("level", 0.95))
    questions = tasks(table, str(evaluation.facts.get("positive") or ""))
    records: list[Record] = []
    parts: list[tuple[str, Mapping[str, np.ndarray[Any, Any]]]] = []
    matched: dict[str, int] = {}
    for task in questions:
        found = _matched(task, table, probes)
        matched[task.label] = int(found.known.sum())
        compared, columns = _compare(task, found, level)
        records += compared
        parts += [(task.label, columns)] if len(columns["probe"]) else []
    facts = {**evaluation.facts, "floor": {**probes.facts, "films": matched}}
    tables = dict(evaluation.tables) | ({"floor": stack(parts)} if parts else {})
    return dataclasses.replace(evaluation, records=(*evaluation.records, *records), tables=tables, facts=facts)


def match_paths(wanted: Column, known: Column) -> np.ndarray[Any, np.dtype[np.int64]]:
    """For each path of `wanted` the row of `known` that names the same film, -1 without one, shape (wanted,).

    The two may be written relative to different folders, so a film is recognised by the longest common end of its path;
    an end that several films share names none of them.
    """
    ends: dict[str, int] = {}
    shared: set[str] = set()
    for row, path in enumerate(known):
        for end in _ends(path):
            if end in ends:
                shared.add(end)
            else:
                ends[end] = row
    found = (next((ends[end] for end in _ends(path) if end in ends and end not in shared), -1) for path in wanted)
    return np.fromiter(found, dtype=np.int64, count=len(wanted))


@dataclasses.dataclass(frozen=True, eq=False)
class _Matched:
    """Probe scores of a question's films: `known` bool (films,), `scores` name to log odds (films,)."""

    known: np.ndarray[Any, np.dtype[np.bool_]]
    scores: Mapping[str, Floats]
    has_target: bool


def _matched(task: Task, table: Predictions, probes: ProbeScores) -> _Matched:
    rows = np.flatnonzero(probes.target == task.label)
    sign = 1.0
    others = [name for name in table.classes if name != task.label]
    if not rows.size and len(table.classes) == 2 and not table.is_multi_label:
        rows, sign = np.flatnonzero(probes.target == others[0]), -1.0
    if not rows.size:
        return _Matched(np.zeros(len(task.scores), dtype=bool), {}, False)
    place = match_paths(table.path[task.rows], probes.path[rows])
    known = place >= 0
    if not table.is_multi_label:
        known &= probes.label[rows][place] == table.label[task.rows]
    scores = {name: np.where(known, sign * column[rows][place], np.nan) for name, column in probes.scores.items()}
    useful = {name: column for name, column in scores.items() if np.isfinite(column[known]).any()}
    known &= np.logical_and.reduce([np.isfinite(column) for column in useful.values()], initial=True)
    return _Matched(known & bool(useful), useful, True)


def _compare(task: Task, found: _Matched, level: float) -> tuple[list[Record], Columns]:
    rows = _rows(task, found, level)
    films = int(found.known.sum())
    context = Context(task.label, "", level, films, task.patients_among(found.known))
    reason = _why_not(task, found, rows)
    if reason:
        missing = [context.record(name, withhold(reason)) for name in ("shortcut_floor", "gain_over_floor")]
        return missing, _columns([])
    shortcuts = [row for row in rows if row.probe not in BASELINES]
    best = max(shortcuts, key=lambda row: row.auroc.value or 0.0)
    chosen = f"The strongest of {len(shortcuts)} probes on these very films, which favours the floor: {best.probe}."
    records = [
        context.record("shortcut_floor", best.auroc.noting(chosen)),
        context.record("gain_over_floor", best.gain.noting(chosen)),
    ]
    return records, _columns(rows)


@dataclasses.dataclass(frozen=True)
class _Row:
    probe: str
    auroc: Estimate
    gain: Estimate
    films: int


def _rows(task: Task, found: _Matched, level: float) -> list[_Row]:
    inside = task.select(found.known)
    if not len(inside.scores) or inside.is_positive.all() or not inside.is_positive.any():
        return []
    patient = clusters.codes(inside.patient, len(inside.patient))
    rows = []
    for name, column in found.scores.items():
        both = np.column_stack([inside.scores, column[found.known]])
        gain, _ = paired_test(both, inside.is_positive, patient, level)
        own = auroc_interval(both[:, 1], inside.is_positive, patient, level)
        rows.append(_Row(name, own, gain, len(inside.scores)))
    return rows


def _why_not(task: Task, found: _Matched, rows: list[_Row]) -> str:
    whole, films = len(task.scores), int(found.known.sum())
    if not found.has_target:
        return f"The audit has no probe for {task.label}."
    if films < _LEAST_MATCHED * whole:
        return f"Only {films} of {whole} films have a probe score and the same label in the audit."
    if not rows:
        return "The floor needs films of both classes."
    if all(row.probe in BASELINES for row in rows):
        return "The audit has no shortcut probe that says anything about these films."
    return ""


def _columns(rows: list[_Row]) -> Columns:
    rows = sorted(rows, key=lambda row: -(row.auroc.value or 0.0))
    return {
        "probe": np.array([row.probe for row in rows], dtype=object),
        "is_shortcut": np.array(["no" if row.probe in BASELINES else "yes" for row in rows], dtype=object),
        "auroc": numbers([row.auroc.value for row in rows]),
        "low": numbers([row.auroc.low for row in rows]),
        "high": numbers([row.auroc.high for row in rows]),
        "gain": numbers([row.gain.value for row in rows]),
        "gain_low": numbers([row.gain.low for row in rows]),
        "gain_high": numbers([row.gain.high for row in rows]),
        "films": np.array([row.films for row in rows], dtype=np.int64),
    }


def _ends(path: object) -> list[str]:
    """Every end of a path, the longest first: "a/b/c", "b/c", "c"."""
    parts = [part for part in PurePosixPath(str(path).replace("\\", "/")).parts if part != "/"]
    return ["/".join(parts[start:]) for start in range(len(parts))]
