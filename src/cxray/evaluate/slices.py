"""Who does the model work for? The same judgement inside each slice of a metadata column, beside the rest of the films.

A slice with too few patients of a class gets the answer "too few to say" instead of a number. Differences are taken
against all other films of the table; P values are adjusted by Holm over every slice asked for. Columns of many numbers
(age) are cut into quarters. A slice of one class only, such as one kind of pneumonia, is ranked against every film of
the other class. `hidden_strata` looks for slices that nobody labelled.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from cxray.errors import UsageError
from cxray.evaluate import clusters
from cxray.evaluate.clusters import LEAST_PATIENTS
from cxray.evaluate.intervals import independent_difference, proportion, sandwich, two_sided_p
from cxray.evaluate.paired import holm
from cxray.evaluate.ranking import auroc_influence, auroc_interval
from cxray.evaluate.record import LEVEL, Codes, Context, Estimate, Flags, Floats, Record, withhold
from cxray.evaluate.screening import Task
from cxray.records import Predictions

_MOST_VALUES = 12
_TABLE_COLUMNS = ("split", "gate", "label")


@dataclasses.dataclass(frozen=True)
class _Measure:
    name: str
    found: Estimate
    difference: Estimate
    p: float
    films: int
    patients: int


def values_of(table: Predictions, column: str) -> dict[str, Flags]:
    """The slices of `column`: name `column=value` to a mask (films,); films with an empty cell are in none.

    Raises:
        UsageError: no such column, or more than a dozen different words in it.
    """
    if column in _TABLE_COLUMNS:
        cells = getattr(table, column)
    elif column in table.metadata:
        cells = table.metadata[column]
    else:
        known = ", ".join([*table.metadata, *_TABLE_COLUMNS])
        raise UsageError(f"There is no column {column!r} to slice by.", f"Use one of: {known}.")
    cells = cells.astype(str)
    names = sorted(set(cells) - {""})
    if len(names) <= _MOST_VALUES:
        return {f"{column}={name}": np.asarray(cells == name) for name in names}
    numbers = _numbers(cells)
    if numbers is None:
        raise UsageError(f"The column {column!r} has {len(names)} different values.", "Slice by a coarser column.")
    return _quarters(column, numbers)


def judge_slices(
    table: Predictions, task: Task, calls: Flags, columns: Sequence[str], level: float
) -> tuple[list[Record], dict[str, np.ndarray[Any, Any]]]:
    """Records of AUROC, sensitivity and specificity a slice with their differences to the rest, and the slice table."""
    measures: list[tuple[str, _Measure]] = []
    for column in columns:
        for name, films in values_of(table, column).items():
            measures += [(name, measure) for measure in _judge_one(task, calls, films[task.rows], level)]
    adjusted = holm([measure.p for _, measure in measures])
    records = []
    for (name, measure), p in zip(measures, adjusted, strict=True):
        context = Context(task.label, name, level, measure.films, measure.patients)
        records.append(context.record(measure.name, measure.found))
        note = f"P value {measure.p:.3g}, {p:.3g} after Holm's adjustment for {len(measures)} comparisons."
        difference = measure.difference if measure.difference.withheld else measure.difference.noting(note)
        records.append(context.record(f"{measure.name}_difference", difference))
    return records, _columns(measures, adjusted)


def hidden_strata(
    features: Floats, task: Task, calls: Flags, *, groups: int = 8, seed: int = 0
) -> dict[str, np.ndarray[Any, Any]]:
    """Groups of look-alike films in which the model errs more than elsewhere, found on half of the patients and judged
    on the other half.

    `features` (films, dimensions) are the model's pooled features of the task's films. Columns, worst first: `group`,
    `films` and `error_rate` in the judging half, `low`, `high`, `error_rate_elsewhere`, `p_holm`. Source: Oakden-Rayner
    et al. 2020 (hidden stratification).
    """
    member, judged = assign_strata(features, task.patient, groups=groups, seed=seed)
    return judge_strata(member, judged, task, calls)


def assign_strata(features: Floats, patient: Codes, *, groups: int = 8, seed: int = 0) -> tuple[Codes, Flags]:
    """The group of look-alike films of each film (films,), and which films belong to the judging half of patients."""
    from sklearn.cluster import KMeans

    half = np.random.default_rng(seed).permutation(int(patient.max()) + 1) % 2 == 0
    finding = half[patient]
    standard = _standardised(features, finding)
    model = KMeans(n_clusters=groups, n_init=4, random_state=seed).fit(standard[finding])
    return model.predict(standard).astype(np.int64), ~finding


def judge_strata(
    member: Codes, judged: Flags, task: Task, calls: Flags, level: float = LEVEL
) -> dict[str, np.ndarray[Any, Any]]:
    """The error rate of each group among the `judged` films; see `hidden_strata` for the columns."""
    wrong = calls != task.is_positive
    rows = []
    for number in range(int(member.max()) + 1):
        inside, outside = judged & (member == number), judged & (member != number)
        if clusters.count(task.patient[inside]) < LEAST_PATIENTS or not outside.any():
            continue
        found = proportion(wrong[inside], task.patient[inside], level)
        elsewhere = float(wrong[outside].mean())
        p = _rate_test(wrong[judged], inside[judged], task.patient[judged])
        rows.append((number, int(inside.sum()), found, elsewhere, p))
    rows.sort(key=lambda row: row[2].value or 0.0, reverse=True)
    return {
        "group": np.array([row[0] for row in rows], dtype=np.int64),
        "films": np.array([row[1] for row in rows], dtype=np.int64),
        "error_rate": np.array([row[2].value for row in rows], dtype=np.float64),
        "low": np.array([row[2].low for row in rows], dtype=np.float64),
        "high": np.array([row[2].high for row in rows], dtype=np.float64),
        "error_rate_elsewhere": np.array([row[3] for row in rows], dtype=np.float64),
        "p_holm": np.array(holm([row[4] for row in rows]), dtype=np.float64),
    }


def _judge_one(task: Task, calls: Flags, films: Flags, level: float) -> Iterator[_Measure]:
    ranked = _ranked_films(task, films)
    ill, healthy = (clusters.count(task.patient[ranked & group]) for group in (task.is_positive, ~task.is_positive))
    named = task.patients_among(ranked)
    needs = {
        "auroc": (min(ill, healthy), ranked),
        "sensitivity": (ill, films & task.is_positive),
        "specificity": (healthy, films & ~task.is_positive),
    }
    is_one_class = bool((ranked & ~films).any())
    for name, (patients, counted) in needs.items():
        if is_one_class and not counted.any():
            continue
        if patients < LEAST_PATIENTS:
            reason = f"Too few to say: {patients} patients, and at least {LEAST_PATIENTS} of each class are needed."
            yield _Measure(
                name, withhold(reason), withhold(reason), 1.0, int(counted.sum()), task.patients_among(counted)
            )
            continue
        found, difference, p = _compare(name, task, calls, films, level)
        yield _Measure(name, found, difference, p, int(counted.sum()), named if name == "auroc" else patients)


def _compare(name: str, task: Task, calls: Flags, films: Flags, level: float) -> tuple[Estimate, Estimate, float]:
    if name == "auroc":
        ranked = _ranked_films(task, films)
        inside = task.select(ranked)
        found = auroc_interval(inside.scores, inside.is_positive, inside.patient, level)
        if (ranked & ~films).any():
            found = found.noting("The group holds films of one class; they are ranked against all films of the other.")
        return found, *_area_difference(task, ranked, ~films, level)
    wanted = task.is_positive if name == "sensitivity" else ~task.is_positive
    right = calls == task.is_positive
    one, other = (proportion(right[wanted & group], task.patient[wanted & group], level) for group in (films, ~films))
    if other.value is None or one.value is None:
        return one, withhold("No other film to compare with."), 1.0
    p = _rate_test(right[wanted], films[wanted], task.patient[wanted])
    return one, independent_difference(one, other), p


def _ranked_films(task: Task, films: Flags) -> Flags:
    """The films that a slice's AUROC ranks: its own, and all of the other class where it holds one class only."""
    ill, healthy = films & task.is_positive, films & ~task.is_positive
    if ill.any() and healthy.any():
        return films
    return films | ~task.is_positive if ill.any() else films | task.is_positive if healthy.any() else films


def _area_difference(task: Task, films: Flags, others: Flags, level: float) -> tuple[Estimate, float]:
    """AUROC of `films` minus that of `others`; films that are in both, being of the other class, count in both."""
    inside, outside = task.select(films), task.select(others)
    fewest = min(clusters.count(outside.patient[group]) for group in (outside.is_positive, ~outside.is_positive))
    if fewest < LEAST_PATIENTS:
        return withhold(f"Too few other films to compare with: {fewest} patients of one class."), 1.0
    influence = np.zeros(len(task.scores))
    first, own = auroc_influence(inside.scores, inside.is_positive)
    influence[films] += own
    second, own = auroc_influence(outside.scores, outside.is_positive)
    influence[others] -= own
    return sandwich(first - second, influence, task.patient, level, reach=(-1.0, 1.0))


def _rate_test(right: Flags, inside: Flags, patient: Codes) -> float:
    """The two-sided p value that a rate is the same inside and outside, variance pooled and summed over patients."""
    if inside.all() or not inside.any():
        return 1.0
    centred = right - right.mean()
    influence = np.where(inside, centred / inside.sum(), -centred / (~inside).sum())
    gap = float(influence.sum())
    variance = float((clusters.totals(influence, patient) ** 2).sum())
    return two_sided_p(gap / math.sqrt(variance)) if variance > 0 else 1.0


def _columns(measures: list[tuple[str, _Measure]], adjusted: list[float]) -> dict[str, np.ndarray[Any, Any]]:
    def numbers(values: Iterator[float | None]) -> Floats:
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    only = [measure for _, measure in measures]
    return {
        "slice": np.array([name for name, _ in measures], dtype=object),
        "measure": np.array([measure.name for measure in only], dtype=object),
        "films": np.array([measure.films for measure in only]),
        "patients": np.array([measure.patients for measure in only]),
        "value": numbers(measure.found.value for measure in only),
        "low": numbers(measure.found.low for measure in only),
        "high": numbers(measure.found.high for measure in only),
        "difference": numbers(measure.difference.value for measure in only),
        "difference_low": numbers(measure.difference.low for measure in only),
        "difference_high": numbers(measure.difference.high for measure in only),
        "p": np.array([measure.p for measure in only]),
        "p_holm": np.array(adjusted),
        "withheld": np.array([measure.found.withheld for measure in only], dtype=object),
    }


def _numbers(cells: np.ndarray[Any, Any]) -> Floats | None:
    try:
        return np.where(cells == "", "nan", cells).astype(np.float64)
    except ValueError:
        return None


def _quarters(column: str, numbers: Floats) -> dict[str, Flags]:
    edges = np.unique(np.nanquantile(numbers, [0, 0.25, 0.5, 0.75, 1]))
    slices = {}
    for low, high in pairwise(edges):
        is_last = high == edges[-1]
        inside = (numbers >= low) & ((numbers <= high) if is_last else (numbers < high))
        slices[f"{column}={low:g} to {'' if is_last else 'below '}{high:g}"] = np.asarray(inside)
    return slices


def _standardised(features: Floats, finding: Flags) -> Floats:
    middle, spread = features[finding].mean(axis=0), features[finding].std(axis=0)
    scaled: Floats = (features - middle) / np.where(spread > 0, spread, 1.0)
    return scaled
