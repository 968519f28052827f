"""How well logits tell validation films apart, for choosing among epochs or penalties. No TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.evaluate import ranking


def mean_auroc(logits: npt.NDArray[Any], targets: npt.NDArray[Any]) -> float:
    """AUROC of logits (n, K): of the second class for two classes, else the mean over classes or findings that can
    be judged (at least one positive and one negative); NaN when none can."""
    logits = np.asarray(logits, dtype=np.float64)
    if targets.ndim == 1 and logits.shape[1] == 2:
        return _auroc(logits[:, 1] - logits[:, 0], targets == 1)
    if targets.ndim == 1:
        shifted = logits - logits.max(axis=1, keepdims=True)
        scores = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
        values = [_auroc(scores[:, k], targets == k) for k in range(logits.shape[1])]
    else:
        known = ~np.isnan(targets)
        values = [_auroc(logits[known[:, k], k], targets[known[:, k], k] == 1) for k in range(logits.shape[1])]
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


def accuracy(logits: npt.NDArray[Any], targets: npt.NDArray[Any]) -> float:
    """Share of films (classes) or of known findings that the largest logit, or a logit above 0, gets right; 0–1."""
    if targets.ndim == 1:
        return float(np.mean(np.argmax(logits, axis=1) == targets))
    known = ~np.isnan(targets)
    return float(np.mean(((logits > 0) == (targets == 1))[known])) if known.any() else float("nan")


def _auroc(scores: npt.NDArray[np.float64], is_positive: npt.NDArray[np.bool_]) -> float:
    return ranking.auroc(scores, is_positive) if 0 < is_positive.sum() < len(is_positive) else float("nan")
