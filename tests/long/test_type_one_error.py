"""Paired tests of two equally good models: they reject in 3 to 7 of 100 studies of 200 patients, and cover the 0."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from cxray.evaluate import curves
from cxray.evaluate.comparison import Goal, _pairs, _Question
from cxray.evaluate.intervals import percentile
from cxray.evaluate.resample import PatientBootstrap, bootstrap_difference
from tests.long.world import THRESHOLD, draw

STUDIES = 1000
MEASURES = ("auroc", "average_precision", "sensitivity", "specificity", "brier", "net_benefit")


def two_models(rng: np.random.Generator) -> _Question:
    """Two readings of the same films, equally noisy, noise shared half by patient."""
    scores, truth, patient = draw(rng)
    readings = []
    for _ in range(2):
        noise = rng.normal(size=int(patient.max()) + 1)[patient] + rng.normal(size=truth.size)
        readings.append(expit(logit(scores) + 0.7 * noise))
    pair = np.column_stack(readings)
    return _Question("ill", ("a", "b"), pair, pair >= THRESHOLD, truth, patient, 200)


@pytest.fixture(scope="module")
def answers() -> dict[str, tuple[float, float]]:
    rejected, covered = dict.fromkeys(MEASURES, 0), dict.fromkeys(MEASURES, 0)
    rng = np.random.default_rng(7)
    for study in range(STUDIES):
        for row in _pairs(two_models(rng), Goal(harm=THRESHOLD), 0.95, study):
            rejected[row.measure] += row.p < 0.05
            assert row.found.low is not None
            assert row.found.high is not None
            covered[row.measure] += row.found.low <= 0 <= row.found.high
    return {name: (rejected[name] / STUDIES, covered[name] / STUDIES) for name in MEASURES}


@pytest.mark.parametrize("name", MEASURES)
def test_paired_test_rejects_as_often_as_it_says(answers, name):
    print(f"{name}: rejects {answers[name][0]:.3f}, covers {answers[name][1]:.3f}")
    assert 0.03 <= answers[name][0] <= 0.07
    assert 0.93 <= answers[name][1] <= 0.97


def test_paired_bootstrap_of_any_measure_covers():
    rng = np.random.default_rng(3)
    covered = 0
    for study in range(200):
        question = two_models(rng)
        draws = PatientBootstrap(question.patient, np.zeros_like(question.patient), draws=200, seed=study)
        found = bootstrap_difference(curves.average_precision, question.scores, question.is_positive, draws)
        low, high = percentile(found)
        covered += low <= 0 <= high
    print(f"any measure: covers {covered / 200:.3f}")
    # 200 studies leave a standard error of 1.5 points, so the band is wider than elsewhere.
    assert 0.90 <= covered / 200 <= 0.985
