"""A world with known truth: 200 patients with 1 to 5 films each, calibrated scores, everything clustered.

Films of one patient share their truth in 9 of 10 cases and half of the variance of their score. Scores are the true
probability of being ill given the signal alone, so they are calibrated; the true values of all measures follow from
normal distributions, or from a very large sample of the same world where no formula is at hand.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm

from cxray.evaluate import curves

SEPARATION, PREVALENCE, THRESHOLD = 1.5, 0.4, 0.3
SHARED_VARIANCE, SAME_TRUTH = 0.5, 0.9


def draw(rng: np.random.Generator, patients: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, truth and patient codes of one study."""
    films = rng.integers(1, 6, patients)
    patient = np.repeat(np.arange(patients), films)
    number = patient.size
    own = (rng.random(patients) < PREVALENCE)[patient]
    truth = np.where(rng.random(number) < SAME_TRUTH, own, rng.random(number) < PREVALENCE)
    noise = np.sqrt(SHARED_VARIANCE) * rng.normal(size=patients)[patient]
    noise += np.sqrt(1 - SHARED_VARIANCE) * rng.normal(size=number)
    signal = SEPARATION * truth + noise
    return expit(SEPARATION * signal - SEPARATION**2 / 2 + logit(PREVALENCE)), truth, patient


def true_values() -> dict[str, float]:
    """What an endless study of this world would measure."""
    cut = (logit(THRESHOLD) - logit(PREVALENCE) + SEPARATION**2 / 2) / SEPARATION
    sensitivity, specificity = norm.sf(cut - SEPARATION), norm.cdf(cut)
    hits, alarms = PREVALENCE * sensitivity, (1 - PREVALENCE) * (1 - specificity)
    misses, cleared = PREVALENCE - hits, 1 - PREVALENCE - alarms
    scores, truth, _ = draw(np.random.default_rng(12345), 700_000)
    brier = float(((scores - truth) ** 2).mean())
    margins = (hits + alarms) * (hits + misses) * (cleared + alarms) * (cleared + misses)
    return {
        "prevalence": PREVALENCE,
        "auroc": float(norm.cdf(SEPARATION / np.sqrt(2))),
        "average_precision": curves.average_precision(scores, truth),
        "partial_auroc": curves.partial_auroc(scores, truth, 0.9),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": hits / (hits + alarms),
        "npv": cleared / (cleared + misses),
        "ppv_at_prevalence_0.1": 0.1 * sensitivity / (0.1 * sensitivity + 0.9 * (1 - specificity)),
        "npv_at_prevalence_0.1": 0.9 * specificity / (0.9 * specificity + 0.1 * (1 - sensitivity)),
        "accuracy": hits + cleared,
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "likelihood_ratio_positive": sensitivity / (1 - specificity),
        "likelihood_ratio_negative": (1 - sensitivity) / specificity,
        "f1": 2 * hits / (2 * hits + alarms + misses),
        "mcc": (hits * cleared - alarms * misses) / margins**0.5,
        "brier": brier,
        "scaled_brier": 1 - brier / (PREVALENCE * (1 - PREVALENCE)),
        "log_loss": float(-np.log(np.where(truth, scores, 1 - scores)).mean()),
        "calibration_slope": 1.0,
        "calibration_intercept": 0.0,
        "recalibration_intercept": 0.0,
        "observed_expected_ratio": 1.0,
        "net_benefit": hits - alarms * THRESHOLD / (1 - THRESHOLD),
    }
