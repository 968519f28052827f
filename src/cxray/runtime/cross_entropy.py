"""Weighted cross-entropy of logits and its slope: the one loss behind the linear head of training and adaptation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def loss_and_slope(logits: Floats, wanted: Floats, weights: Floats) -> tuple[float, Floats]:
    """The loss, and its derivative by the logits (n, K).

    Args:
        logits: (n, K).
        wanted: (n, K), 1 or 0; no NaN: a cell that is unknown holds 0 and weighs nothing.
        weights: (n,) for classes of which each film has exactly one (softmax), or (n, K) for findings (sigmoid). The
            loss is the weighted sum, so weights that sum to 1 give a mean.
    """
    if weights.ndim == 1:
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_scores = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        loss = -(weights * (log_scores * wanted).sum(axis=1)).sum()
        return float(loss), weights[:, None] * (np.exp(log_scores) - wanted)
    loss = (weights * (np.logaddexp(0, logits) - logits * wanted)).sum()
    return float(loss), weights * (0.5 * (1 + np.tanh(logits / 2)) - wanted)
