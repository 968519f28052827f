"""Which model is better? Several prediction tables of the same films, judged film by film against each other.

Only films that every model scored are compared, and how many were left out is said. Sensitivity and specificity are
compared apart, each model at its own operating point; AUROC by paired DeLong, clustered; Brier and net benefit by the
patient sandwich; average precision by paired patient bootstrap. P values are adjusted by Holm over all pairs of models.
The first table is the reference of non-inferiority, whose margin must have been stated before the test was opened.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, ClassVar

import numpy as np

from cxray.errors import DataError, UsageError
from cxray.evaluate import clusters, curves
from cxray.evaluate.evaluation import Judgement, stack
from cxray.evaluate.intervals import sandwich
from cxray.evaluate.operating import operating_points
from cxray.evaluate.paired import cochran_q, holm, paired_difference
from cxray.evaluate.paired_curves import paired_curves
from cxray.evaluate.ranking import auroc_interval, contrast_test, paired_test
from cxray.evaluate.record import LEVEL, Codes, Context, Estimate, Flags, Floats, Record, withhold
from cxray.evaluate.resample import DRAWS, PatientBootstrap
from cxray.evaluate.screening import Screened, fingerprint, screen, tasks
from cxray.evaluate.seeds import chance_better, seed_spread
from cxray.evaluate.thresholds import DEFAULT_POLICY, Policy
from cxray.records import Predictions

_DISTINCT = 0.05


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison(Judgement):
    """The judgement of several tables against each other, saved as `comparison.json`.

    `records` name the model or pair in `slice` (`model=A`, `A minus B`). `tables["differences"]` has one row a label,
    measure and pair with p and Holm-adjusted p; `tables["models"]` one row a label and model. `facts["questions"]`
    holds the verdicts a label: best model, those that cannot be told from it, joint tests and non-inferiority.
    """

    file_name: ClassVar[str] = "comparison.json"


@dataclasses.dataclass(frozen=True, slots=True)
class Goal:
    """What is asked beyond the differences.

    `margin`: the largest loss of AUROC against the first table that still counts as not inferior. `harm`: the threshold
    probability (0–1) at which net benefit is compared. `groups`: model name to recipe name, for models that differ only
    by seed.
    """

    margin: float | None = None
    harm: float | None = None
    groups: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in (("margin", self.margin), ("harm", self.harm)):
            if value is not None and not 0 < value < 1:
                raise UsageError(f"The {name} must lie between 0 and 1, got {value:g}.")


def compare(
    tables: Mapping[str, Predictions],
    *,
    validation: Mapping[str, Predictions] | None = None,
    positive: str = "",
    policy: Policy | str = DEFAULT_POLICY,
    goal: Goal | None = None,
    level: float = LEVEL,
    seed: int = 0,
) -> Comparison:
    """Compare the models of `tables` (name to predictions) on the films that all of them scored.

    `validation` may give a table for each model to choose its threshold on; else each table's own decisions are used,
    else 0.5, with a warning.

    Raises:
        UsageError: fewer than two tables, different classes, or unknown names in `goal.groups`.
        DataError: no common film, or tables that contradict each other about the truth.
    """
    goal = goal or Goal()
    aligned = _align(tables, goal)
    policy = Policy.parse(policy) if isinstance(policy, str) else policy
    calls = _calls(aligned, validation or {}, positive, policy)
    questions = _questions(aligned, calls, positive)
    records: list[Record] = []
    parts: dict[str, list[tuple[str, Mapping[str, np.ndarray[Any, Any]]]]] = {}
    facts = _facts(aligned, goal, level, seed)
    for question in questions:
        context = Context(question.label, "", level, len(question.is_positive), question.patients)
        singles = _singles(question, level)
        pairs = list(_pairs(question, goal, level, seed))
        records += [
            dataclasses.replace(context, slice=f"model={name}").record("auroc", found) for name, found in singles
        ]
        records += [
            dataclasses.replace(context, slice=f"{row.first} minus {row.second}").record(
                f"{row.measure}_difference", row.found
            )
            for row in pairs
        ]
        parts.setdefault("models", []).append((question.label, _model_columns(singles)))
        parts.setdefault("differences", []).append((question.label, _difference_columns(pairs)))
        curves_by_model = paired_curves(question.names, question.scores, question.is_positive, question.patient, level)
        for name, columns in curves_by_model.items():
            parts.setdefault(name, []).append((question.label, columns))
        facts["questions"][question.label] = _verdicts(question, singles, pairs, goal)
        records += _seed_records(singles, goal, context, seed)
    return Comparison(tuple(records), {name: stack(rows) for name, rows in parts.items()}, facts)


@dataclasses.dataclass(frozen=True, eq=False)
class _Aligned:
    """The screened tables, and for each the rows (films,) of the common films in one order."""

    names: tuple[str, ...]
    screened: tuple[Screened, ...]
    rows: tuple[Codes, ...]
    left_out: dict[str, int]
    warnings: list[str]


@dataclasses.dataclass(frozen=True, eq=False)
class _Question:
    """One label on the common films: `scores` and `calls` (films, models)."""

    label: str
    names: tuple[str, ...]
    scores: Floats
    calls: Flags
    is_positive: Flags
    patient: Codes
    patients: int

    def bootstrap(self, seed: int = 0) -> PatientBootstrap:
        """Draws of patients, the same for every model."""
        return PatientBootstrap(self.patient, np.zeros_like(self.patient), DRAWS, seed)


@dataclasses.dataclass(frozen=True)
class _Difference:
    measure: str
    first: str
    second: str
    found: Estimate
    p: float


def _align(tables: Mapping[str, Predictions], goal: Goal) -> _Aligned:
    if len(tables) < 2:
        raise UsageError(f"A comparison needs at least two tables, got {len(tables)}.")
    strangers = set(goal.groups) - set(tables)
    if strangers:
        raise UsageError(f"There is no table named {sorted(strangers)[0]!r} to group.", f"Names: {', '.join(tables)}.")
    screened = {name: screen(table) for name, table in tables.items()}
    classes = {name: one.table.classes for name, one in screened.items()}
    first, *others = classes
    for name in others:
        if classes[name] != classes[first]:
            raise UsageError(
                f"{name} has the classes {', '.join(classes[name])}, but {first} has {', '.join(classes[first])}.",
                "Compare tables with the same score columns in the same order.",
            )
    places = [{path: row for row, path in enumerate(one.table.path)} for one in screened.values()]
    common = [path for path in screened[first].table.path if all(path in place for place in places)]
    if not common:
        raise DataError(
            f"The tables have no film in common; their first paths: {_first_paths(screened)}.",
            "Give predictions of the same films, written with the same paths.",
        )
    rows = tuple(np.array([place[path] for path in common], dtype=np.int64) for place in places)
    left_out = {name: len(tables[name]) - len(common) for name in tables}
    warnings = [f"{name}: {films} films are not compared." for name, films in left_out.items() if films]
    if str(common[0]).startswith("row "):
        warnings.append("The tables name no paths, so films were matched by row number.")
    _agree_on_truth(screened, rows)
    return _Aligned(tuple(tables), tuple(screened.values()), rows, left_out, warnings)


def _first_paths(screened: Mapping[str, Screened]) -> str:
    return ", ".join(f"{one.table.path[0]} ({name})" for name, one in screened.items() if len(one.table))


def _agree_on_truth(screened: Mapping[str, Screened], rows: tuple[Codes, ...]) -> None:
    (first, reference), *others = screened.items()
    base = reference.table.select(rows[0])
    for (name, one), own in zip(others, rows[1:], strict=True):
        other = one.table.select(own)
        differs = base.label != other.label
        if base.findings is not None and other.findings is not None:
            differs = ~np.isclose(base.findings, other.findings, equal_nan=True).all(axis=1)
        if differs.any():
            raise DataError(
                f"{first} and {name} disagree about the truth of {differs.sum()} films, "
                f"for example {base.path[differs][0]}.",
                "Give both tables the same labels.",
            )


def _calls(
    aligned: _Aligned, validation: Mapping[str, Predictions], positive: str, policy: Policy
) -> list[dict[str, Flags]]:
    """For each model and label, its calls at its own operating point over its whole table."""
    calls = []
    for name, one in zip(aligned.names, aligned.screened, strict=True):
        questions = tasks(one.table, positive)
        points, doubts = operating_points(
            questions, one, validation=validation.get(name), policy=policy, threshold=None
        )
        aligned.warnings.extend(f"{name}: {doubt}" for doubt in doubts)
        whole = {}
        for task, point in zip(questions, points, strict=True):
            answers = np.zeros(len(one.table), dtype=bool)
            answers[task.rows] = point.calls
            whole[task.label] = answers
        calls.append(whole)
    return calls


def _questions(aligned: _Aligned, calls: list[dict[str, Flags]], positive: str) -> list[_Question]:
    base = aligned.screened[0].table.select(aligned.rows[0])
    questions = []
    for task in tasks(base, positive):
        number = base.classes.index(task.label)
        scores = np.column_stack(
            [
                one.table.scores[rows][task.rows, number]
                for one, rows in zip(aligned.screened, aligned.rows, strict=True)
            ]
        )
        answers = np.column_stack(
            [whole[task.label][rows][task.rows] for whole, rows in zip(calls, aligned.rows, strict=True)]
        )
        known = ~np.isnan(scores).any(axis=1)
        questions.append(
            _Question(
                label=task.label,
                names=aligned.names,
                scores=scores[known],
                calls=answers[known],
                is_positive=task.is_positive[known],
                patient=task.patient[known],
                patients=task.patients_among(known),
            )
        )
    return questions


def _singles(question: _Question, level: float) -> list[tuple[str, Estimate]]:
    return [
        (name, auroc_interval(question.scores[:, k], question.is_positive, question.patient, level))
        for k, name in enumerate(question.names)
    ]


def _pairs(question: _Question, goal: Goal, level: float, seed: int) -> Iterator[_Difference]:
    if not len(question.is_positive):
        return
    both = question.is_positive.any() and not question.is_positive.all()
    bootstrap = question.bootstrap(seed)
    draws: list[Floats] = []
    if both:
        draws = [bootstrap.rankings(column, question.is_positive)[1] for column in question.scores.T]
    for i, j in combinations(range(len(question.names)), 2):
        names = question.names[i], question.names[j]
        pair = question.scores[:, [i, j]]
        if both:
            yield _Difference("auroc", *names, *paired_test(pair, question.is_positive, question.patient, level))
            yield _Difference(
                "average_precision", *names, *_precision_difference(pair, question, draws[i] - draws[j], level)
            )
        else:
            yield _Difference("auroc", *names, withhold("AUROC needs films of both classes."), 1.0)
        right = question.calls[:, [i, j]] == question.is_positive[:, None]
        for measure, films in (("sensitivity", question.is_positive), ("specificity", ~question.is_positive)):
            found = paired_difference(right[films, 0], right[films, 1], question.patient[films], level)
            yield _Difference(measure, *names, *found)
        losses = (pair - question.is_positive[:, None]) ** 2
        yield _Difference("brier", *names, *_mean_difference(losses[:, 0] - losses[:, 1], question.patient, level))
        if goal.harm is not None:
            gains = np.where(
                pair >= goal.harm, np.where(question.is_positive[:, None], 1, -goal.harm / (1 - goal.harm)), 0
            )
            yield _Difference(
                "net_benefit", *names, *_mean_difference(gains[:, 0] - gains[:, 1], question.patient, level)
            )


def _precision_difference(pair: Floats, question: _Question, draws: Floats, level: float) -> tuple[Estimate, float]:
    first, second = (curves.average_precision(column, question.is_positive) for column in pair.T)
    value = first - second
    known = draws[~np.isnan(draws)]
    found = question.bootstrap().interval(value, draws, level, what="paired patient bootstrap")
    if found.low is None:
        return found, 1.0
    # Twice the smaller share of draws on one side of 0; never reported below what the number of draws can show.
    beyond = min(float((known <= 0).mean()), float((known >= 0).mean()))
    return found, min(1.0, max(2 * beyond, 1 / known.size))


def _mean_difference(gaps: Floats, patient: Codes, level: float) -> tuple[Estimate, float]:
    value = float(gaps.mean())
    return sandwich(value, (gaps - value) / gaps.size, patient, level)


def _model_columns(singles: Sequence[tuple[str, Estimate]]) -> dict[str, np.ndarray[Any, Any]]:
    return {
        "model": np.array([name for name, _ in singles], dtype=object),
        "auroc": _numbers(found.value for _, found in singles),
        "low": _numbers(found.low for _, found in singles),
        "high": _numbers(found.high for _, found in singles),
    }


def _difference_columns(pairs: Sequence[_Difference]) -> dict[str, np.ndarray[Any, Any]]:
    adjusted = np.empty(len(pairs))
    for measure in {row.measure for row in pairs}:
        places = [place for place, row in enumerate(pairs) if row.measure == measure]
        adjusted[places] = holm([pairs[place].p for place in places])
    return {
        "measure": np.array([row.measure for row in pairs], dtype=object),
        "first": np.array([row.first for row in pairs], dtype=object),
        "second": np.array([row.second for row in pairs], dtype=object),
        "difference": _numbers(row.found.value for row in pairs),
        "low": _numbers(row.found.low for row in pairs),
        "high": _numbers(row.found.high for row in pairs),
        "p": np.array([row.p for row in pairs]),
        "p_holm": adjusted,
        "method": np.array([row.found.method for row in pairs], dtype=object),
    }


def _numbers(values: Iterator[float | None] | Any) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _verdicts(
    question: _Question, singles: Sequence[tuple[str, Estimate]], pairs: Sequence[_Difference], goal: Goal
) -> dict[str, Any]:
    """JSON-able conclusions: the best model, those tied with it, the joint tests and non-inferiority."""
    areas = {name: found.value for name, found in singles if found.value is not None}
    if not areas:
        return {"best": None, "tied_with_best": [], "non_inferiority": []}
    best = max(areas, key=lambda name: areas[name])
    of_area = [row for row in pairs if row.measure == "auroc"]
    adjusted = holm([row.p for row in of_area])
    tied = [
        row.second if row.first == best else row.first
        for row, p in zip(of_area, adjusted, strict=True)
        if best in (row.first, row.second) and p >= _DISTINCT
    ]
    return {
        "best": best,
        "tied_with_best": tied,
        "all_auroc_equal": _joint_test(question),
        "all_right_equal": _cochran(question),
        "non_inferiority": _non_inferiority(question, of_area, goal),
    }


def _joint_test(question: _Question) -> dict[str, float] | None:
    models = len(question.names)
    contrast = np.column_stack([np.ones(models - 1), -np.eye(models - 1)])
    try:
        statistic, p = contrast_test(question.scores, question.is_positive, question.patient, contrast)
    except np.linalg.LinAlgError:
        return None
    return {"chi_squared": statistic, "p": p} if np.isfinite(statistic) else None


def _cochran(question: _Question) -> dict[str, float] | None:
    """Cochran's Q over right and wrong calls; None when patients have several films, which the test cannot respect."""
    if clusters.count(question.patient) < len(question.patient):
        return None
    statistic, p = cochran_q(question.calls == question.is_positive[:, None])
    return {"cochran_q": statistic, "p": p}


def _non_inferiority(question: _Question, of_area: Sequence[_Difference], goal: Goal) -> list[dict[str, Any]]:
    if goal.margin is None:
        return []
    answers = []
    for row in of_area:
        if row.first != question.names[0] or row.found.high is None:
            continue
        answers.append(
            {
                "reference": row.first,
                "candidate": row.second,
                "margin": goal.margin,
                "largest_plausible_loss": row.found.high,
                "is_not_inferior": row.found.high < goal.margin,
                "condition": "Holds only if the margin was stated before the test table was opened.",
            }
        )
    return answers


def _seed_records(singles: Sequence[tuple[str, Estimate]], goal: Goal, context: Context, seed: int) -> Iterator[Record]:
    """The spread of AUROC over the models of one recipe, and the chance that one recipe beats another."""
    values: dict[str, list[float]] = {}
    for name, found in singles:
        if name in goal.groups and found.value is not None:
            values.setdefault(goal.groups[name], []).append(found.value)
    for recipe, areas in values.items():
        found = seed_spread(np.array(areas), context.level)
        yield dataclasses.replace(context, slice=f"recipe={recipe}").record("auroc_over_seeds", found)
    for first, second in combinations(values, 2):
        found = chance_better(np.array(values[first]), np.array(values[second]), level=context.level, seed=seed)
        yield dataclasses.replace(context, slice=f"{first} over {second}").record("chance_better", found)


def _facts(aligned: _Aligned, goal: Goal, level: float, seed: int) -> dict[str, Any]:
    return {
        "models": list(aligned.names),
        "films": len(aligned.rows[0]),
        "left_out": aligned.left_out,
        "table_sha256": {
            name: fingerprint(one.table) for name, one in zip(aligned.names, aligned.screened, strict=True)
        },
        "margin": goal.margin,
        "harm": goal.harm,
        "groups": dict(goal.groups),
        "level": level,
        "seed": seed,
        "warnings": aligned.warnings,
        "questions": {},
    }
