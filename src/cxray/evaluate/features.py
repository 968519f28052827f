"""What a feature table adds to a judgement: hidden strata, and whether films of one class look different elsewhere.

A feature table has a `path` column and numbers in all others, one row a film, as `cxray predict --features` writes it
or as any other network gives it. Films are matched by path; those without features are left out and counted.
Methods: `slices.hidden_strata` (Oakden-Rayner et al. 2020) and `shift.two_sample_test` (Rabanser et al. 2019).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxray.errors import DataError
from cxray.evaluate import clusters
from cxray.evaluate.clusters import LEAST_PATIENTS
from cxray.evaluate.intervals import proportion
from cxray.evaluate.judge import Settings
from cxray.evaluate.operating import OperatingPoint
from cxray.evaluate.record import Codes, Context, Estimate, Flags, Floats, Record, withhold
from cxray.evaluate.screening import Screened, Task
from cxray.evaluate.shift import two_sample_test
from cxray.evaluate.slices import assign_strata, judge_strata
from cxray.records import Predictions
from cxray.tables import as_numbers, read_table

Columns = dict[str, np.ndarray[Any, Any]]
Parts = dict[str, list[tuple[str, Mapping[str, np.ndarray[Any, Any]]]]]
# The two-sample test solves for every film of a fold; more than this many films a side stand for all of them.
_MOST_FILMS = 2000
_MOST_GROUPS = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """`values` (films, dimensions) of the films named in `place`: path to row."""

    values: Floats
    place: dict[str, int]

    @classmethod
    def read(cls, paths: Sequence[Path]) -> Features:
        """Read one or several feature tables of the same columns.

        Raises:
            DataError: no path column, different columns, a cell that is not a finite number, or a film listed twice.
        """
        parts, names, columns = [], [], None
        for path in paths:
            table = read_table(path)
            if "path" not in table:
                raise DataError(f"{path} has no column 'path', so its rows belong to no film.", "Add the films' paths.")
            names += [str(name) for name in table.pop("path")]
            if columns is not None and list(table) != columns:
                raise DataError(f"{path} has other columns than {paths[0]}.", "Give tables of one network.")
            columns = list(table)
            if not columns:
                raise DataError(f"{path} has no column of numbers beside 'path'.")
            parts.append(np.column_stack([as_numbers(table[name], name=name, source=path) for name in columns]))
        values = np.concatenate(parts)
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
            raise DataError(f"The features of {names[row]} are not all finite numbers.", "Leave that film out.")
        place = {name: row for row, name in enumerate(names)}
        if len(place) < len(names):
            raise DataError(f"{len(names) - len(place)} films have features twice.", "Keep one row a film.")
        return cls(values, place)

    def of(self, path: np.ndarray[Any, Any]) -> tuple[Floats, Flags]:
        """Features of the films of `path` that have any, and which do (bool, (films,))."""
        rows = np.array([self.place.get(str(name), -1) for name in path], dtype=np.int64)
        return self.values[rows[rows >= 0]], rows >= 0


def examine(
    features: Features,
    judged: Screened,
    questions: list[Task],
    points: list[OperatingPoint],
    sources: tuple[Predictions, list[Task]] | None,
    settings: Settings,
) -> tuple[list[Record], Parts]:
    """Records and labelled tables from features; `sources` is the validation table with its questions, if any.

    Raises:
        DataError: no judged film has features.
    """
    _, known = features.of(judged.table.path)
    if not known.any():
        raise DataError(
            f"None of the {len(known)} judged films has features.", "The paths of both tables must be the same."
        )
    records: list[Record] = []
    exhibits: Parts = {}
    for number, (task, point) in enumerate(zip(questions, points, strict=True)):
        found, tables = _strata(features, judged.table, task, point, settings)
        records += found
        for name, columns in tables.items():
            exhibits.setdefault(name, []).append((task.label, columns))
        if sources is not None:
            records += _shift(features, (sources[0], sources[1][number]), (judged.table, task), settings)
    return records, exhibits


def _strata(
    features: Features, table: Predictions, task: Task, point: OperatingPoint, settings: Settings
) -> tuple[list[Record], dict[str, Columns]]:
    values, known = features.of(table.path[task.rows])
    kept, calls = task.select(known), point.calls[known]
    kept = dataclasses.replace(kept, patient=clusters.codes(kept.patient, len(kept.patient)))
    patients = clusters.count(kept.patient)
    context = Context(task.label, "", settings.level, int(known.sum()), kept.patients_among())
    groups = min(_MOST_GROUPS, patients // (4 * LEAST_PATIENTS))
    if groups < 2:
        reason = f"Hidden strata need features of at least {8 * LEAST_PATIENTS} patients, got {patients}."
        return [context.record("hidden_stratum_error_rate", withhold(reason))], {}
    member, is_judged = assign_strata(values, kept.patient, groups=groups, seed=settings.seed)
    found = judge_strata(member, is_judged, kept, calls, settings.level)
    tables: dict[str, Columns] = {
        "hidden_strata": found,
        "hidden_strata_films": {
            "group": member,
            "path": table.path[kept.rows],
            "patient": table.patient[kept.rows],
            "wrong": (calls != kept.is_positive).astype(np.int64),
            "judging_half": is_judged.astype(np.int64),
        },
    }
    return list(_strata_records(found, member, is_judged, (kept, calls), context)), tables


def _strata_records(
    found: Columns, member: Codes, is_judged: Flags, judged: tuple[Task, Flags], context: Context
) -> Iterator[Record]:
    task, calls = judged
    for row, group in enumerate(found["group"].tolist()):
        films = is_judged & (member == group)
        wrong = calls[films] != task.is_positive[films]
        note = (
            f"A group of look-alike films, found on other patients; elsewhere the error rate is "
            f"{found['error_rate_elsewhere'][row]:.3f}, P value {found['p_holm'][row]:.3g} after Holm's adjustment."
        )
        estimate = proportion(wrong, task.patient[films], context.level).noting(note)
        own = dataclasses.replace(
            context, slice=f"hidden group={group}", n_images=int(films.sum()), n_patients=task.patients_among(films)
        )
        yield own.record("hidden_stratum_error_rate", estimate)


def _shift(
    features: Features, before: tuple[Predictions, Task], after: tuple[Predictions, Task], settings: Settings
) -> Iterator[Record]:
    """For ill and for healthy films: can the judged ones be told from the validation ones by their features?"""
    for is_ill in (True, False):
        sides = [_side(features, *pair, is_ill, settings.seed) for pair in (before, after)]
        (first, first_patient), (second, second_patient) = sides
        context = Context(after[1].label, "", settings.level, len(second), clusters.count(second_patient))
        name = f"feature_shift_{'positive' if is_ill else 'negative'}"
        fewest = min(clusters.count(first_patient), clusters.count(second_patient))
        if fewest < LEAST_PATIENTS:
            reason = f"Too few to say: {fewest} patients with features, and {LEAST_PATIENTS} on each side are needed."
            yield context.record(name, withhold(reason))
            continue
        area, p = two_sample_test(first, second, first_patient, second_patient, seed=settings.seed)
        found = Estimate(area, method="classifier two-sample test, ridge, 5 folds by patient")
        yield context.record(
            name,
            found.noting(
                "AUROC of telling judged from validation films of one class; 0.5 is alike.",
                f"P value {p:.3g} from 200 permutations of patients; the null takes the place of an interval.",
            ),
        )


def _side(features: Features, table: Predictions, task: Task, is_ill: bool, seed: int) -> tuple[Floats, Codes]:
    wanted = np.flatnonzero(task.is_positive == is_ill)
    values, known = features.of(table.path[task.rows[wanted]])
    patient = task.patient[wanted[known]]
    if len(values) > _MOST_FILMS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(values), _MOST_FILMS, replace=False))
        values, patient = values[chosen], patient[chosen]
    return values, clusters.codes(patient, len(patient))
