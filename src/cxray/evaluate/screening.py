"""From a predictions table to what can be judged: every film once, with a result and a truth, and a count of the rest.

Nothing is dropped silently. Films without a result are kept apart (the judge shows how much they could matter), films
without a known truth and exact repetitions are counted, and everything a reader must know becomes a warning.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
from typing import Any

import numpy as np

from cxray.errors import DataError, LabelError, UsageError
from cxray.evaluate import clusters
from cxray.evaluate.record import Codes, Flags, Floats
from cxray.records import Predictions

_MOST_NAMED = 1000
# Words for a truth that name no class, so that nobody can tell which of them means the finding.
_CODES = frozenset({"0", "1", "0.0", "1.0", "true", "false", "yes", "no", "positive", "negative", "pos", "neg"})


@dataclasses.dataclass(frozen=True, eq=False)
class Screened:
    """`table` can be judged; `unscored` has no result. `facts` is JSON-able, `warnings` are whole sentences."""

    table: Predictions
    unscored: Predictions
    facts: dict[str, Any]
    warnings: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """One yes/no question put to N films: does this film show `label`?

    `scores` are probabilities (N,), `is_positive` bool (N,), `patient` dense codes (N,), `rows` the positions (N,) in
    the screened table. `has_patients` is False when the table names none, so every film counts as a patient.
    """

    label: str
    scores: Floats
    is_positive: Flags
    patient: Codes
    rows: Codes
    has_patients: bool

    def patients_among(self, films: Flags | None = None) -> int:
        """How many patients are known among `films` (all when None); 0 when the table names none."""
        if not self.has_patients:
            return 0
        return clusters.count(self.patient if films is None else self.patient[films])

    def select(self, films: Flags) -> Task:
        """The same question put to fewer films."""
        parts = {name: getattr(self, name)[films] for name in ("scores", "is_positive", "patient", "rows")}
        return dataclasses.replace(self, **parts)


def screen(predictions: Predictions) -> Screened:
    """Sort the rows of `predictions` into what can be judged and what cannot.

    Raises:
        DataError: the same film is listed twice with different contents, or no film can be judged.
        LabelError: no label of the table is a class of the scores.
    """
    warnings: list[str] = []
    whole = len(predictions)
    predictions = _once(predictions, warnings)
    repeated = whole - len(predictions)
    failed = _failed(predictions)
    if failed.any():
        warnings.append(f"{failed.sum()} of {len(predictions)} films have no result; see the unscored films.")
    scored = predictions.select(~failed)
    known, unknown = _with_truth(scored, warnings)
    table = scored.select(known)
    if not len(table):
        raise DataError(
            f"None of the {whole} films can be judged: {failed.sum()} have no result, "
            f"{len(scored)} have no usable label.",
            "Give a table with labels and scores.",
        )
    warnings += _doubts(table)
    unscored = predictions.select(failed)
    facts = {
        "classes": list(table.classes),
        "films": len(table),
        "patients": _patients(table),
        "films_unscored": len(unscored),
        "unscored": [
            {"path": str(path), "reason": str(error) or "the score is missing"}
            for path, error in zip(unscored.path[:_MOST_NAMED], unscored.error[:_MOST_NAMED], strict=True)
        ],
        "films_without_truth": int(np.count_nonzero(~known)),
        "unknown_labels": unknown,
        "duplicates_removed": repeated,
        "splits": _counts(table.split),
        "labels": _label_counts(table),
    }
    return Screened(table, unscored, facts, tuple(warnings))


def tasks(table: Predictions, positive: str = "") -> list[Task]:
    """The questions that a screened table answers.

    With `positive` it is one: that class (or finding) against the rest. Otherwise one for two classes, the second being
    positive, and one a class or finding for more.

    Raises:
        UsageError: `positive` is not a class of the table.
    """
    classes = table.classes
    if positive and positive not in classes:
        raise UsageError(
            f"There is no class {positive!r}.{_near(positive, classes)}", f"Use one of: {', '.join(classes)}."
        )
    patient = clusters.codes(table.patient, len(table))
    has_patients = bool((table.patient != "").any())
    findings = table.findings
    if positive:
        chosen = [classes.index(positive)]
    elif findings is None and len(classes) <= 2:
        chosen = [len(classes) - 1]
    else:
        chosen = list(range(len(classes)))
    questions = []
    for number in chosen:
        truth = (table.label == classes[number]).astype(np.float64) if findings is None else findings[:, number]
        rows = np.flatnonzero(~np.isnan(truth) & ~np.isnan(table.scores[:, number]))
        questions.append(
            Task(
                label=classes[number],
                scores=table.scores[rows, number],
                is_positive=truth[rows] == 1,
                patient=patient[rows],
                rows=rows.astype(np.int64),
                has_patients=has_patients,
            )
        )
    return questions


def fingerprint(predictions: Predictions) -> str:
    """SHA-256 of the table's content (path, patient, split, label, findings, scores), whatever file it came in."""
    digest = hashlib.sha256("\x1f".join(predictions.classes).encode())
    for column in (predictions.path, predictions.patient, predictions.split, predictions.label):
        digest.update("\x1f".join(map(str, column)).encode())
        digest.update(b"\x1e")
    digest.update(np.ascontiguousarray(predictions.scores, dtype="<f8").tobytes())
    if predictions.findings is not None:
        digest.update(np.ascontiguousarray(predictions.findings, dtype="<f8").tobytes())
    return digest.hexdigest()


def _once(predictions: Predictions, warnings: list[str]) -> Predictions:
    """Leave out exact repetitions of a film; refuse contradicting ones."""
    first: dict[str, int] = {}
    place = np.fromiter((first.setdefault(path, row) for row, path in enumerate(predictions.path)), np.int64)
    repeats = np.flatnonzero(place != np.arange(len(place)))
    if not repeats.size:
        return predictions
    again, before = predictions.select(repeats), predictions.select(place[repeats])
    same = (again.label == before.label) & (again.patient == before.patient)
    same &= np.isclose(again.scores, before.scores, rtol=0, atol=0, equal_nan=True).all(axis=1)
    if again.findings is not None and before.findings is not None:
        same &= np.isclose(again.findings, before.findings, equal_nan=True).all(axis=1)
    if not same.all():
        path = again.path[~same][0]
        raise DataError(
            f"{np.count_nonzero(~same)} films are listed twice with different contents, for example {path}.",
            "Keep one row a film, or judge each model's table on its own.",
        )
    warnings.append(f"{repeats.size} rows repeat an earlier row exactly; each film is counted once.")
    keep = np.ones(len(predictions), dtype=bool)
    keep[repeats] = False
    return predictions.select(keep)


def _failed(predictions: Predictions) -> Flags:
    missing = np.isnan(predictions.scores)
    without = missing.all(axis=1) if predictions.is_multi_label else missing.any(axis=1)
    return np.asarray(without | (predictions.error != ""), dtype=bool)


def _with_truth(table: Predictions, warnings: list[str]) -> tuple[Flags, dict[str, int]]:
    """Which films have a truth that the scores know, and the labels that they do not know."""
    if table.findings is not None:
        known = ~np.isnan(table.findings).all(axis=1)
        _report_missing_truth(int(np.count_nonzero(~known)), warnings)
        strange = table.findings[~np.isnan(table.findings) & ~np.isin(table.findings, (0, 1))]
        if strange.size:
            raise LabelError(f"A finding must be 1, 0 or empty, but {strange[0]:g} occurs.", "Correct the table.")
        return np.asarray(known, dtype=bool), {}
    labelled = np.asarray(table.label != "", dtype=bool)
    _report_missing_truth(int(np.count_nonzero(~labelled)), warnings)
    if len(table.classes) == 1:
        _check_only_class(table.label[labelled], table.classes[0], warnings)
        return labelled, {}
    known = labelled & np.isin(table.label, table.classes)
    unknown = _counts(table.label[labelled & ~known])
    if unknown and not known.any():
        name = next(iter(unknown))
        raise LabelError(
            f"No label of the table is a class of the scores ({', '.join(table.classes)}); "
            f"the labels are: {', '.join(list(unknown)[:8])}.{_near(name, table.classes)}",
            "Rename the score columns or the labels so that they agree.",
        )
    for name, films in unknown.items():
        warnings.append(f"{films} films are labelled {name!r}, a class without a score; they are not judged.")
    return known, unknown


def _check_only_class(labels: Any, name: str, warnings: list[str]) -> None:
    """Refuse labels in other words than the only class with a score: all films would count as healthy."""
    others = _counts(labels)
    if name in others or not others:
        return
    if len(others) > 1 or next(iter(others)).lower() in _CODES:
        raise LabelError(
            f"The only class with a score is {name!r}, but the labels are: {', '.join(list(others)[:8])}."
            f"{_near(name, tuple(others))}",
            f"Say which label means it, for example --label 1={name}.",
        )
    warnings.append(f"No film is labelled {name!r}; all {labels.size} count as without it.")


def _report_missing_truth(films: int, warnings: list[str]) -> None:
    if films:
        warnings.append(f"{films} films have no label, so they cannot be judged.")


def _doubts(table: Predictions) -> list[str]:
    """Sentences about what the table does not say."""
    doubts = []
    named = table.patient != ""
    if not named.any():
        doubts.append(
            "The table names no patients, so films are taken as independent; "
            "if patients have several films, every interval is too narrow."
        )
    elif not named.all():
        doubts.append(f"{np.count_nonzero(~named)} films name no patient; each counts as a patient of its own.")
    splits = _counts(table.split)
    if len(splits) > 1:
        parts = ", ".join(f"{films} {name or 'unstated'}" for name, films in splits.items())
        doubts.append(f"The table mixes splits ({parts}); results on training films do not hold for new films.")
    elif "train" in splits:
        doubts.append("All films are training films; the results do not hold for new films.")
    for answer, films in _counts(table.gate).items():
        if answer not in ("", "inside"):
            doubts.append(f"The input gate calls {films} judged films {answer!r}; slice by 'gate' to see them apart.")
    if not table.is_multi_label and len(table.classes) > 1:
        astray = np.abs(table.scores.sum(axis=1) - 1) > 1e-3
        if astray.any():
            doubts.append(f"The scores of {astray.sum()} films do not add up to 1 over the classes.")
    return doubts


def _patients(table: Predictions) -> int:
    return len(set(table.patient) - {""})


def _label_counts(table: Predictions) -> dict[str, int]:
    if table.findings is None:
        return _counts(table.label)
    return {name: int(np.nansum(table.findings[:, k])) for k, name in enumerate(table.classes)}


def _counts(column: Any) -> dict[str, int]:
    names, films = np.unique(column.astype(str), return_counts=True)
    return dict(zip(names.tolist(), films.tolist(), strict=True))


def _near(name: str, names: tuple[str, ...]) -> str:
    upper = {known.upper(): known for known in names}
    close = difflib.get_close_matches(name.upper(), upper, n=1)
    return f" Did you mean {upper[close[0]]!r}?" if close else ""
