"""Do test films come from where the training films come from? Class by class, because classes can differ.

A probe tries to tell train from test within one class; its AUROC is compared with the AUROC after the patients'
splits were shuffled. Prevalence and the mix of strata that file names reveal are compared too.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from scipy import stats

from cxray.data.audit.findings import Finding, percent
from cxray.data.audit.leaks import classes_of
from cxray.data.audit.names import cut_names, stems
from cxray.data.audit.probes import (
    FOLDS,
    Interval,
    auroc,
    components,
    folds_of,
    has_enough,
    patient_codes,
)
from cxray.data.audit.scan import Flags, Floats, Integers, Scan, pixel_rows

_SHUFFLES = 199
_SIGNIFICANT = 0.01
_CLEAR_AUROC = 0.6
_STRONG_AUROC = 0.7
_RIDGE = 0.1
_PREVALENCE_POINTS = 0.05
_FEWEST_STRATUM_FILMS = 20
_STRATUM_SHARE = 0.05


def check_shift(scan: Scan, seed: int) -> list[Finding]:
    """Findings that compare train and validation films with test films; none without a test split."""
    is_test = np.asarray(scan.split == "test")
    found = [_strata(scan, is_test)] if len(scan) else []
    if is_test.any() and not is_test.all():
        found += [_class_shift(scan, is_test, seed), _prevalence(scan, is_test)]
    return [finding for finding in found if finding is not None]


def _class_shift(scan: Scan, is_test: Flags, seed: int) -> Finding | None:
    reduced = components(pixel_rows(scan.thumbnails), ~is_test)
    patient = patient_codes(scan.patient)
    rows: dict[str, Any] = {}
    for name, member in classes_of(scan).items():
        codes = np.unique(patient[member], return_inverse=True)[1]
        if member.any() and has_enough(is_test[member], codes):
            rows[name] = _shift_of(reduced[member], is_test[member], codes, seed)
    real = {
        name: row for name, row in rows.items() if row["p"] < _SIGNIFICANT and row["auroc"]["value"] >= _CLEAR_AUROC
    }
    if not real:
        return None
    worst = max(real, key=lambda name: float(real[name]["auroc"]["value"]))
    value = float(real[worst]["auroc"]["value"])
    told = "; ".join(
        f"{name} {row['auroc']['value']:.2f} (by chance {row['chance']:.2f})" for name, row in rows.items()
    )
    return Finding(
        "class-shift",
        "warning" if value >= _STRONG_AUROC else "info",
        f"Train and test films of the same class can be told apart, AUROC {told}.",
        {"classes": rows, "worst": worst},
        f"Figures in test will differ from validation, above all for {worst}; do not mend this by tuning on test. "
        "Ask how its films were collected.",
    )


def _shift_of(reduced: Floats, is_test: Flags, patient: Integers, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    side_of_patient = np.zeros(int(patient.max()) + 1, dtype=bool)
    side_of_patient[patient[is_test]] = True
    shuffled = np.column_stack([rng.permutation(side_of_patient)[patient] for _ in range(_SHUFFLES)])
    sides = np.column_stack([is_test, shuffled])
    scores = _ridge_scores(reduced, sides, folds_of(patient, seed))
    values = _column_aurocs(scores, sides)
    interval: Interval = auroc(scores[:, 0], is_test, patient, seed)
    return {
        "auroc": interval.as_json(),
        "chance": float(values[1:].mean()),
        "chance_95": float(np.quantile(values[1:], 0.95)),
        "p": float((1 + (values[1:] >= values[0]).sum()) / (1 + _SHUFFLES)),
        "train_films": int((~is_test).sum()),
        "test_films": int(is_test.sum()),
    }


def _ridge_scores(features: Floats, targets: Flags, fold: Integers) -> Floats:
    """Held-out ridge regression of every column of `targets` at once: one system of equations a fold for all."""
    scores = np.empty(targets.shape)
    for number in range(FOLDS):
        held_out = fold == number
        learned = features[~held_out]
        wanted = targets[~held_out].astype(np.float64)
        mean = learned.mean(axis=0)
        centred = learned - mean
        gram = centred.T @ centred + _RIDGE * len(learned) * np.eye(features.shape[1])
        weights = np.linalg.solve(gram, centred.T @ (wanted - wanted.mean(axis=0)))
        scores[held_out] = (features[held_out] - mean) @ weights
    return scores


def _column_aurocs(scores: Floats, targets: Flags) -> Floats:
    ranks = stats.rankdata(scores, axis=0)
    ill = targets.sum(axis=0)
    healthy = len(targets) - ill
    return np.asarray(((ranks * targets).sum(axis=0) - ill * (ill + 1) / 2) / np.maximum(ill * healthy, 1))


def _prevalence(scan: Scan, is_test: Flags) -> Finding | None:
    patient = patient_codes(scan.patient)
    rows: dict[str, Any] = {}
    for name, member in classes_of(scan).items():
        (train, train_se), (test, test_se) = (_share(member[side], patient[side]) for side in (~is_test, is_test))
        spread = float(np.hypot(train_se, test_se))
        z = abs(train - test) / spread if spread > 0 else 0.0
        rows[name] = {"train": train, "test": test, "p": float(2 * stats.norm.sf(z))}
    clear = {
        name: row
        for name, row in rows.items()
        if row["p"] < 0.001 and abs(row["train"] - row["test"]) >= _PREVALENCE_POINTS
    }
    if not clear:
        return None
    told = ", ".join(
        f"{name} {percent(row['train'])} in train, {percent(row['test'])} in test" for name, row in clear.items()
    )
    return Finding(
        "prevalence-difference",
        "warning",
        f"The classes are mixed differently: {told}.",
        {"classes": rows},
        "Read accuracy, predictive values and calibration with this in mind; sensitivity, specificity and AUROC do not "
        "depend on it.",
    )


def _share(member: Flags, patient: Integers) -> tuple[float, float]:
    """Share of films and its standard error, summed over patients."""
    share = float(member.mean())
    sums = np.bincount(patient, weights=member - share)
    return share, float(np.sqrt((sums**2).sum())) / len(member)


def strata_of(scan: Scan) -> dict[str, dict[str, Flags]]:
    """Class to words in its file names that divide it, each with bool (films,): "PNEUMONIA": {"virus": …}."""
    words = [set(part.words) for part in cut_names(stems([record.path for record in scan.records]))]
    found: dict[str, dict[str, Flags]] = {}
    for name, member in classes_of(scan).items():
        counts = Counter(word for row in np.flatnonzero(member) for word in words[row] if "#" not in word)
        films = int(member.sum())
        dividing = [
            word
            for word, count in counts.most_common(10)
            if _STRATUM_SHARE <= count / films <= 1 - _STRATUM_SHARE and count >= _FEWEST_STRATUM_FILMS
        ]
        if dividing:
            found[name] = {word: member & np.array([word in row for row in words]) for word in dividing}
    return found


def _strata(scan: Scan, is_test: Flags) -> Finding | None:
    found = strata_of(scan)
    if not found:
        return None
    members = classes_of(scan)
    rows = {
        name: {word: _stratum_row(members[name], stratum, is_test) for word, stratum in strata.items()}
        for name, strata in found.items()
    }
    told = "; ".join(
        f"{name}: " + ", ".join(f"{word} {row['films']:,}" for word, row in strata.items())
        for name, strata in rows.items()
    )
    return Finding(
        "strata-in-names",
        "info",
        f"File names divide classes further ({told}).",
        {"classes": rows},
        "Evaluate these strata separately: a good mean can hide a bad part.",
    )


def _stratum_row(member: Flags, stratum: Flags, is_test: Flags) -> dict[str, Any]:
    row: dict[str, Any] = {"films": int(stratum.sum()), "share": float(stratum.sum() / member.sum())}
    if (member & is_test).any() and (member & ~is_test).any():
        row["share_in_train"] = float(stratum[~is_test].sum() / member[~is_test].sum())
        row["share_in_test"] = float(stratum[is_test].sum() / member[is_test].sum())
    return row
