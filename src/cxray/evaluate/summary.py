"""The judge's desk, and the only orchestration in this room: a predictions table in, an `Evaluation` out.

Screen the table, put one question a class, find the operating point, write the records, draw up the exhibits. The
judged table is never used to choose anything.
"""

from __future__ import annotations

import dataclasses
import datetime
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cxray import __version__
from cxray.errors import UsageError
from cxray.evaluate import clusters, multiclass
from cxray.evaluate.audited import of_table
from cxray.evaluate.evaluation import Evaluation, stack
from cxray.evaluate.features import Features, examine
from cxray.evaluate.judge import Settings, exhibits, judge
from cxray.evaluate.operating import OperatingPoint, operating_points
from cxray.evaluate.planning import resolution
from cxray.evaluate.record import LEVEL, Context, Estimate, Record
from cxray.evaluate.resample import DRAWS
from cxray.evaluate.screening import Screened, Task, fingerprint, screen, tasks
from cxray.evaluate.slices import judge_slices
from cxray.evaluate.thresholds import DEFAULT_POLICY, Policy
from cxray.evaluate.transfer import transfer
from cxray.records import Predictions

# The performance at which the power of a test set is stated, the same for every table.
_REFERENCE_AUROC = 0.9
_REFERENCE_SENSITIVITY = 0.95

Parts = dict[str, list[tuple[str, Mapping[str, np.ndarray[Any, Any]]]]]


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """Everything that may be asked of the judge; the meaning of each field is that of the option of `evaluate`.

    `features` (of judged and validation films) adds hidden strata and the test whether films of one class look
    different here.
    """

    validation: Predictions | None = None
    positive: str = ""
    threshold: float | None = None
    policy: Policy | str = DEFAULT_POLICY
    level: float = LEVEL
    prevalence: Sequence[float] = ()
    slices: Sequence[str] = ()
    seed: int = 0
    source: str = ""
    features: Features | None = None

    def settings(self) -> Settings:
        """Level, draws, seed and prevalences, checked.

        Raises:
            UsageError: a level outside of 0.5 to 1, or a prevalence outside of 0 to 1.
        """
        if not 0.5 <= self.level < 1:
            raise UsageError(
                f"The confidence level must lie between 0.5 and 1, got {self.level:g}.", "Use 0.95, for example."
            )
        strange = [share for share in self.prevalence if not 0 < share < 1]
        if strange:
            raise UsageError(f"A prevalence must lie between 0 and 1, got {strange[0]:g}.", "Write 10 % as 0.1.")
        return Settings(self.level, DRAWS, self.seed, tuple(self.prevalence))


def evaluate(
    predictions: Predictions,
    *,
    validation: Predictions | None = None,
    positive: str = "",
    threshold: float | None = None,
    policy: Policy | str = DEFAULT_POLICY,
    level: float = LEVEL,
    prevalence: Sequence[float] = (),
    slices: Sequence[str] = (),
    seed: int = 0,
    source: str = "",
) -> Evaluation:
    """Judge `predictions`.

    The operating point comes from `validation` by `policy`; else from `threshold`; else from the table's own decisions;
    else the most probable class, with a warning. `positive` names the class that counts as ill; left out with two
    classes it is the second, and the facts say so. `level` is the confidence level (0–1), `prevalence` are shares (0–1)
    at which to restate the predictive values, `slices` are metadata columns, `seed` fixes the bootstrap, `source` names
    the table's file in the facts.

    Raises:
        DataError, LabelError: nothing can be judged, or the table contradicts itself.
        SealedTestError: the validation table holds test films or the judged films.
        UsageError: an option that cannot be meant.
    """
    asked = Request(validation, positive, threshold, policy, level, prevalence, slices, seed, source)
    return evaluate_request(predictions, asked)


def evaluate_request(predictions: Predictions, asked: Request) -> Evaluation:
    """Judge `predictions` as `evaluate` does, with all that a `Request` can ask."""
    settings = asked.settings()
    policy = Policy.parse(asked.policy) if isinstance(asked.policy, str) else asked.policy
    judged = screen(predictions)
    questions = tasks(judged.table, asked.positive)
    points, doubts = operating_points(
        questions, judged, validation=asked.validation, policy=policy, threshold=asked.threshold
    )
    records = [record for task, point in zip(questions, points, strict=True) for record in judge(task, point, settings)]
    records += _worst_cases(judged, questions, points, settings)
    records += multiclass.overall(judged.table, questions, points, settings)
    parts = _exhibits(questions, points, settings)
    records += _slices(judged, questions, points, asked.slices, settings, parts)
    records += _elsewhere(judged, questions, points, asked, parts)
    facts = _facts(predictions, judged, questions, points, settings)
    facts |= {"positive_reason": _positive_reason(facts["positive"], asked.positive, judged.table)}
    facts |= {"source": asked.source, "warnings": [*judged.warnings, *doubts]}
    tables = _tables(judged, parts)
    if len(questions) > 1:
        tables["findings"] = multiclass.findings(questions, settings)
    return Evaluation(tuple(records), tables, facts)


def _elsewhere(
    judged: Screened, questions: list[Task], points: list[OperatingPoint], asked: Request, parts: Parts
) -> list[Record]:
    """What the validation table and the features add; their tables go into `parts`."""
    records: list[Record] = []
    sources = screen(asked.validation) if asked.validation is not None else None
    if sources is not None:
        records, exhibits_of_both = transfer(judged, sources, questions, points, asked.settings())
        parts |= exhibits_of_both
    if asked.features is not None:
        label = questions[0].label if len(questions) == 1 else ""
        pair = (sources.table, tasks(sources.table, label)) if sources is not None else None
        found, of_features = examine(asked.features, judged, questions, points, pair, asked.settings())
        records += found
        parts |= of_features
    return records


def _exhibits(questions: list[Task], points: list[OperatingPoint], settings: Settings) -> Parts:
    parts: Parts = {}
    for task, point in zip(questions, points, strict=True):
        for name, columns in exhibits(task, point, settings).items():
            parts.setdefault(name, []).append((task.label, columns))
    return parts


def _slices(
    judged: Screened,
    questions: list[Task],
    points: list[OperatingPoint],
    columns: Sequence[str],
    settings: Settings,
    parts: Parts,
) -> list[Record]:
    records = []
    for task, point in zip(questions, points, strict=True):
        if not columns or not len(task.scores):
            continue
        found, table = judge_slices(judged.table, task, point.calls, columns, settings.level)
        records += found
        parts.setdefault("slices", []).append((task.label, table))
    return records


def _tables(judged: Screened, parts: Parts) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    tables = {name: stack(labelled) for name, labelled in parts.items()}
    rows = tables["errors"].pop("row").astype(np.int64)
    tables["errors"]["path"] = judged.table.path[rows]
    tables["errors"]["patient"] = judged.table.patient[rows]
    if len(judged.unscored):
        tables["unscored"] = {"path": judged.unscored.path, "reason": judged.unscored.error}
    return tables | multiclass.exhibits(judged.table)


def _worst_cases(
    judged: Screened, questions: list[Task], points: list[OperatingPoint], settings: Settings
) -> list[Record]:
    """Sensitivity and specificity if every film without a result had been judged wrongly."""
    if not len(judged.unscored) or judged.table.is_multi_label:
        return []
    records = []
    for task, point in zip(questions, points, strict=True):
        ill = judged.unscored.label == task.label
        healthy = ~ill & (judged.unscored.label != "")
        right = point.calls == task.is_positive
        groups = {"sensitivity": (task.is_positive, ill), "specificity": (~task.is_positive, healthy)}
        for name, (films, lost) in groups.items():
            whole = int(films.sum()) + int(lost.sum())
            if not lost.any() or not films.any():
                continue
            found = Estimate(float(right[films].sum()) / whole, method="films without a result counted as wrong")
            owners = {*judged.table.patient[task.rows[films]], *judged.unscored.patient[lost]} - {""}
            context = Context(task.label, "", settings.level, whole, len(owners))
            records.append(context.record(f"{name}_worst_case", found.noting("A bound, so it has no interval.")))
    return records


def _facts(
    predictions: Predictions,
    judged: Screened,
    questions: list[Task],
    points: list[OperatingPoint],
    settings: Settings,
) -> dict[str, Any]:
    by_label = {task.label: point.facts for task, point in zip(questions, points, strict=True)}
    single = questions[0].label if len(questions) == 1 else ""
    return {
        **judged.facts,
        "audit": of_table(judged.table),
        "multi_label": judged.table.is_multi_label,
        "positive": single,
        "threshold": by_label.get(single),
        "thresholds": by_label,
        "table_sha256": fingerprint(predictions),
        "resolution": {task.label: _resolution(task, settings) for task in questions},
        "level": settings.level,
        "draws": settings.draws,
        "seed": settings.seed,
        "cxray": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _resolution(task: Task, settings: Settings) -> dict[str, float] | None:
    """What this many patients can tell, at a reference AUROC of 0.9 and a sensitivity of 0.95."""
    ill, healthy = (clusters.count(task.patient[films]) for films in (task.is_positive, ~task.is_positive))
    if not ill or not healthy:
        return None
    found = resolution(ill, healthy, _REFERENCE_AUROC, _REFERENCE_SENSITIVITY, settings.level)
    return {"ill_patients": ill, "healthy_patients": healthy, **found}


def _positive_reason(positive: str, asked: str, table: Predictions) -> str:
    if not positive:
        return "Every class or finding has its own question."
    if asked:
        return f"{positive!r} was named as the positive class."
    if len(table.classes) == 1:
        return f"{positive!r} is the only class with a score; every other label counts as negative."
    return f"No positive class was named, so the second score column, {positive!r}, counts as positive."
