"""What the validation films say about a threshold: counts behind the sentence "of 100 such films about …".

Read from `predictions/validation.csv` beside the bundle, and only when it names this very graph and gives the stored
counts, sensitivity and specificity back at the stored threshold. A bundle that travelled without its run has no such
table; then only the stored operating point is known.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.bundle import Bundle
from cxray.errors import CxrayError
from cxray.evaluate.thresholds import Threshold
from cxray.records import Predictions

BINS = 40


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """Scores of the positive class on validation films: `positive` (P,) with it and `negative` (M,) without, sorted."""

    positive: npt.NDArray[np.float64]
    negative: npt.NDArray[np.float64]

    def curve(self) -> dict[str, Any]:
        """Counts for the page.

        `thresholds` (T,) rising from 0 to 1; at each, `above_positive` and `above_negative` films reach it.
        `histogram_*` count films in `BINS` equal bins of 0–1.
        """
        thresholds = np.round(np.linspace(0, 1, 201), 3)
        return {
            "n_positive": len(self.positive),
            "n_negative": len(self.negative),
            "thresholds": thresholds.tolist(),
            "above_positive": _reaching(self.positive, thresholds),
            "above_negative": _reaching(self.negative, thresholds),
            "histogram_positive": np.histogram(self.positive, BINS, (0, 1))[0].tolist(),
            "histogram_negative": np.histogram(self.negative, BINS, (0, 1))[0].tolist(),
        }

    def scores(self) -> npt.NDArray[np.float64]:
        """All validation scores (N,), the reference that live scores are compared with."""
        return np.concatenate([self.positive, self.negative])


def read_evidence(bundle: Bundle) -> Evidence | None:
    """The evidence beside a bundle, None when there is none that belongs to its threshold."""
    threshold = bundle.thresholds.get(bundle.positive)
    path = bundle.folder.parent / "predictions" / "validation.csv"
    if threshold is None or bundle.task != "classes" or not path.is_file():
        return None
    try:
        table = Predictions.read(path)
        scores = table.scores[:, table.classes.index(bundle.positive)]
    except (CxrayError, ValueError):
        return None
    known = (table.label != "") & ~np.isnan(scores)
    is_positive = table.label == bundle.positive
    found = Evidence(np.sort(scores[known & is_positive]), np.sort(scores[known & ~is_positive]))
    is_ours = set(table.metadata.get("model", ())) == {bundle.identifier}
    return found if is_ours and _reproduces(found, threshold) else None


def _reproduces(found: Evidence, threshold: Threshold) -> bool:
    if (len(found.positive), len(found.negative)) != (threshold.n_positive, threshold.n_negative):
        return False
    if not (len(found.positive) and len(found.negative)):
        return False
    sensitivity = (found.positive >= threshold.value).mean()
    specificity = (found.negative < threshold.value).mean()
    stored = (threshold.sensitivity, threshold.specificity)
    return None not in stored and bool(np.allclose((sensitivity, specificity), np.array(stored, float), atol=1e-6))


def _reaching(scores: npt.NDArray[np.float64], thresholds: npt.NDArray[np.float64]) -> list[int]:
    return [int(count) for count in len(scores) - np.searchsorted(scores, thresholds, side="left")]
