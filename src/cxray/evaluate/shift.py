"""What changes when the model moves: carried thresholds, prevalence, and how many local films would repair it.

Own code after Saerens, Latinne & Decaestecker 2002 (Neural Computation 14:21, EM for the prevalence), Lipton, Wang &
Smola 2018 (black-box shift estimation) and Rabanser, Günnemann & Lipton 2019 (classifier two-sample tests, here with a
permutation null over patients). Nothing found here may be fed back into the model that is judged.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from cxray.evaluate import clusters, rates, reliability
from cxray.evaluate.calibration import fit_logistic, fit_platt, logit
from cxray.evaluate.intervals import independent_difference
from cxray.evaluate.ranking import auroc, auroc_interval
from cxray.evaluate.record import LEVEL, Codes, Estimate, Flags, Floats, withhold
from cxray.evaluate.resample import PatientBootstrap
from cxray.evaluate.screening import Task
from cxray.evaluate.thresholds import FLOAT32_RESOLUTION

_LOCAL_PATIENTS = (10, 20, 50, 100, 200, 400)
_REPEATS = 50
_MOST_PATIENTS = 5000
_FOLDS = 5
_RIDGE = 1e-2
_BINS = 1000
_LEAST_SHARE = 1e-12
_DRAWS = 200
# Recalibration that gains less than this share of the log loss repairs nothing that matters.
_LEAST_GAIN = 0.02
_MOST_OF_IT = 0.8


def prevalence_by_em(
    scores: Floats, trained_at: float, *, weights: Floats | None = None, tolerance: float = 1e-10
) -> float:
    """The share of ill films that best explains `scores` (films,) of a model trained where it was `trained_at`.

    Needs calibrated scores and classes that look the same at both places (label shift). Saerens 2002, equations 2.8
    and 2.9.
    """
    mass = np.ones(len(scores)) if weights is None else weights
    share = trained_at
    for _ in range(10_000):
        renewed = float(mass @ adjust_prevalence(scores, trained_at, share) / mass.sum())
        if abs(renewed - share) < tolerance:
            return renewed
        # At exactly 0 or 1 the rule of Bayes divides 0 by 0 for a score of 1 or 0.
        share = min(max(renewed, _LEAST_SHARE), 1 - _LEAST_SHARE)
    return share


def adjust_prevalence(scores: Floats, trained_at: float, now: float) -> Floats:
    """Scores (films,) restated for a prevalence of `now` by Bayes' rule."""
    raised = scores * now / trained_at
    adjusted: Floats = raised / (raised + (1 - scores) * (1 - now) / (1 - trained_at))
    return adjusted


def prevalence_by_calls(validation: Task, validation_calls: Flags, calls: Flags) -> float | None:
    """The share of ill films, 0–1, that explains the share of positive calls, from validation error rates (BBSE).

    None when the validation calls carry no information (sensitivity + specificity = 1).
    """
    sensitivity = float(validation_calls[validation.is_positive].mean())
    false_alarms = float(validation_calls[~validation.is_positive].mean())
    if abs(sensitivity - false_alarms) < 1e-9:
        return None
    return float(np.clip((calls.mean() - false_alarms) / (sensitivity - false_alarms), 0, 1))


def prevalence_interval(
    scores: Floats, trained_at: float, patient: Codes, *, level: float = LEVEL, seed: int = 0
) -> Estimate:
    """The EM estimate with limits by patient bootstrap; the draws work on a thousand bins of the scores."""
    if not 0 < trained_at < 1:
        return withhold("The prevalence estimate needs a validation table with both classes.")
    value = prevalence_by_em(scores, trained_at)
    place = np.minimum((scores * _BINS).astype(np.int64), _BINS - 1)
    films = np.maximum(np.bincount(place, minlength=_BINS), 1)
    middle = np.bincount(place, weights=scores, minlength=_BINS) / films
    draws = []
    bootstrap = PatientBootstrap(patient, np.zeros_like(patient), _DRAWS, seed)
    for block in bootstrap.blocks():
        for weights in block:
            mass = np.bincount(place, weights=weights[patient], minlength=_BINS).astype(np.float64)
            draws.append(prevalence_by_em(middle, trained_at, weights=mass, tolerance=1e-6))
    found = bootstrap.interval(value, np.array(draws), level, what="Saerens' EM, patient bootstrap")
    return found.noting("Assumes calibrated scores, and classes that look the same at both places.")


def transport(
    validation: Task, judged: Task, threshold: float, level: float = LEVEL
) -> dict[str, np.ndarray[Any, Any]]:
    """What held on the validation films and what holds on the judged ones, at one threshold.

    Columns: `measure` (sensitivity, specificity, AUROC, calibration slope and intercept, Brier score), value and limits
    on both, and their difference, judged minus validation; NaN where a value is withheld.
    """
    before, after = _measures(validation, threshold, level), _measures(judged, threshold, level)
    rows = [(before[name], after[name], independent_difference(after[name], before[name])) for name in before]
    columns: dict[str, np.ndarray[Any, Any]] = {"measure": np.array(list(before), dtype=object)}
    for place, prefix in enumerate(("validation", "judged", "difference")):
        for part in ("value", "low", "high"):
            numbers = [getattr(row[place], part) for row in rows]
            columns[f"{prefix}_{part}"] = np.array([np.nan if n is None else n for n in numbers], dtype=np.float64)
    return columns


def _measures(task: Task, threshold: float, level: float) -> dict[str, Estimate]:
    calls = task.scores >= threshold
    given = (task.scores, task.is_positive, task.patient, level)
    slope, _ = reliability.recalibration(*given)
    return {
        "sensitivity": rates.sensitivity(calls, *given[1:]),
        "specificity": rates.specificity(calls, *given[1:]),
        "auroc": auroc_interval(*given),
        "calibration_slope": slope,
        "calibration_intercept": reliability.calibration_intercept(*given),
        "brier": reliability.brier(*given),
    }


def score_shift(validation: Task, judged: Task, level: float = LEVEL) -> dict[bool, Estimate]:
    """For ill (True) and healthy (False) films: the chance that a judged film scores higher than a validation film.

    0.5 means no shift. The tables are taken to hold different patients.
    """
    found = {}
    for wanted in (True, False):
        old, new = validation.is_positive == wanted, judged.is_positive == wanted
        scores = np.concatenate([validation.scores[old], judged.scores[new]])
        is_new = np.concatenate([np.zeros(old.sum(), dtype=bool), np.ones(new.sum(), dtype=bool)])
        patient = np.concatenate([validation.patient[old], judged.patient[new] + int(validation.patient.max()) + 1])
        found[wanted] = auroc_interval(scores, is_new, patient, level)
    return found


def repair_curve(judged: Task, *, seed: int = 0) -> dict[str, Floats]:
    """How well recalibration on a few local patients would work on the remaining ones, averaged over random choices.

    Columns: `patients` used (0 = as delivered), the log loss after moving the intercept alone and after Platt scaling,
    and quartiles of the latter over the choices. A counterfactual for planning; it changes nothing in the judgement.
    At most half of the patients are used, and of a large table five thousand random patients stand for all.
    """
    rng = np.random.default_rng(seed)
    patients = int(judged.patient.max()) + 1
    if patients > _MOST_PATIENTS:
        judged = judged.select(rng.permutation(patients)[judged.patient] < _MOST_PATIENTS)
        judged = dataclasses.replace(judged, patient=clusters.codes(judged.patient, len(judged.patient)))
        patients = int(judged.patient.max()) + 1
    logits = logit(judged.scores)
    truth = judged.is_positive.astype(np.float64)
    rows = [(0.0, _loss(logits, truth), _loss(logits, truth), np.nan, np.nan)]
    for local in _LOCAL_PATIENTS:
        if local > patients // 2:
            break
        losses = np.array(
            [_repaired(logits, truth, rng.permutation(patients)[judged.patient] < local) for _ in range(_REPEATS)]
        )
        if np.isnan(losses).all(axis=0).any():
            continue
        middle = np.nanmean(losses, axis=0)
        low, high = np.nanquantile(losses[:, 1], [0.25, 0.75])
        rows.append((float(local), middle[0], middle[1], low, high))
    names = ("patients", "intercept_log_loss", "platt_log_loss", "platt_low", "platt_high")
    return dict(zip(names, np.array(rows).T, strict=True))


def patients_to_repair(judged: Task, curve: dict[str, Floats]) -> Estimate:
    """The fewest local patients of `curve` (from `repair_curve`) whose Platt scaling recovers most of the loss.

    What is to be had is the fall in log loss that Platt scaling on all judged films would give; most is four fifths.
    Withheld when there is next to nothing to repair, or when no number tried is enough.
    """
    logits, truth = logit(judged.scores), judged.is_positive.astype(np.float64)
    delivered = _loss(logits, truth)
    if np.ptp(logits) < FLOAT32_RESOLUTION:
        return withhold("All scores are equal, so there is nothing to recalibrate.")
    slope, intercept = fit_platt(logits, truth)
    gain = delivered - _loss(slope * logits + intercept, truth)
    if gain < _LEAST_GAIN * delivered:
        return withhold(f"Nothing to repair: recalibration would lower the log loss of {delivered:.3f} by {gain:.3g}.")
    enough = np.flatnonzero(curve["platt_log_loss"] <= delivered - _MOST_OF_IT * gain)
    enough = enough[curve["patients"][enough] > 0]
    if not enough.size:
        tried = int(curve["patients"].max(initial=0))
        return withhold(f"More than the {tried} local patients that could be tried here.")
    found = Estimate(float(curve["patients"][enough[0]]), method="Platt scaling on random local patients, 50 choices")
    return found.noting(
        f"Recovers {_MOST_OF_IT:.0%} of the {gain:.3f} by which it can lower the log loss of {delivered:.3f}.",
        "Of the numbers tried; a plan for a new place, not a change to this judgement.",
    )


def two_sample_test(
    first: Floats,
    second: Floats,
    first_patient: Codes,
    second_patient: Codes,
    *,
    permutations: int = 200,
    seed: int = 0,
) -> tuple[float, float]:
    """Can a linear classifier tell two groups of films apart? The cross-validated AUROC and its permutation p value.

    `first` and `second` are features (films, dimensions), for example of one class before and after; patient codes keep
    a patient's films in one fold, and the null permutes patients, not films. AUROC 0.5 means alike.
    """
    features = np.concatenate([first, second])
    patient = np.concatenate([first_patient, second_patient + int(first_patient.max()) + 1])
    patient = clusters.codes(patient, len(patient))
    is_second = np.arange(len(features)) >= len(first)
    owner = np.zeros(int(patient.max()) + 1, dtype=bool)
    owner[patient[is_second]] = True
    rng = np.random.default_rng(seed)
    fold = rng.permutation(owner.size)[patient] % _FOLDS
    maps = _fold_maps(features, fold)
    value = _told_apart(maps, fold, is_second)
    null = [_told_apart(maps, fold, rng.permutation(owner)[patient]) for _ in range(permutations)]
    beyond = sum(abs(area - 0.5) >= abs(value - 0.5) for area in null)
    return value, (1 + beyond) / (1 + permutations)


def _fold_maps(features: Floats, fold: Codes) -> list[Floats]:
    """For each fold the matrix that turns training labels into scores of the left-out films (ridge regression)."""
    scaled = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-12)
    design = np.column_stack([scaled, np.ones(len(scaled))])
    maps = []
    for number in range(_FOLDS):
        train = design[fold != number]
        penalty = _RIDGE * len(train) * np.eye(design.shape[1])
        maps.append(design[fold == number] @ np.linalg.solve(train.T @ train + penalty, train.T))
    return maps


def _told_apart(maps: list[Floats], fold: Codes, is_second: Flags) -> float:
    # The AUROC is taken inside each fold, because scores of different folds are on different scales.
    areas = []
    for number, ridge in enumerate(maps):
        left_out = fold == number
        areas.append(auroc(ridge @ np.where(is_second[~left_out], 1.0, -1.0), is_second[left_out]))
    return float(np.nanmean(areas))


def _repaired(logits: Floats, truth: Floats, local: Flags) -> tuple[float, float]:
    if truth[local].min() == truth[local].max():
        return float("nan"), float("nan")
    rest = ~local
    moved = fit_logistic(np.ones((int(local.sum()), 1)), truth[local], offset=logits[local])
    alone = float("nan") if moved is None else _loss(logits[rest] + moved[0], truth[rest])
    if np.ptp(logits[local]) < FLOAT32_RESOLUTION:
        return alone, float("nan")
    slope, intercept = fit_platt(logits[local], truth[local])
    return alone, _loss(slope * logits[rest] + intercept, truth[rest])


def _loss(logits: Floats, truth: Floats) -> float:
    return float((np.logaddexp(0, logits) - truth * logits).mean())
