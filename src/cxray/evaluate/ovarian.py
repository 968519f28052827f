"""The ovarian cancer data of DeLong, DeLong & Clarke-Pearson 1988 (Biometrics 44:837), for the self-test.

43 patients with all three tests known, of 49: would an operation on their bowel obstruction help? Facts as printed in
the paper and repeated in statistics manuals.
"""

from __future__ import annotations

import numpy as np

from cxray.evaluate.record import Flags, Floats

# Albumin, total protein (g/dl), K-G score (higher = worse), and 1 when the patient benefits.
# fmt: off
_PATIENTS = (
    (3.0, 5.8, 10, 0), (3.2, 6.3, 5, 1), (3.9, 6.8, 3, 1), (2.8, 4.8, 6, 0),
    (3.2, 5.8, 3, 1), (0.9, 4.0, 5, 0), (2.5, 5.7, 8, 0), (1.6, 5.6, 5, 1),
    (3.8, 5.7, 5, 1), (3.7, 6.7, 6, 1), (3.2, 5.4, 4, 1), (3.8, 6.6, 6, 1),
    (4.1, 6.6, 5, 1), (3.6, 5.7, 5, 1), (4.3, 7.0, 4, 1), (3.6, 6.7, 4, 0),
    (2.3, 4.4, 6, 1), (4.2, 7.6, 4, 0), (4.0, 6.6, 6, 0), (3.5, 5.8, 6, 1),
    (3.8, 6.8, 7, 1), (3.0, 4.7, 8, 0), (4.5, 7.4, 5, 1), (3.7, 7.4, 5, 1),
    (3.1, 6.6, 6, 1), (4.1, 8.2, 6, 1), (4.3, 7.0, 5, 1), (4.3, 6.5, 4, 1),
    (3.2, 5.1, 5, 1), (2.6, 4.7, 6, 1), (3.3, 6.8, 6, 0), (1.7, 4.0, 7, 0),
    (3.7, 6.1, 5, 1), (3.3, 6.3, 7, 1), (4.2, 7.7, 6, 1), (3.5, 6.2, 5, 1),
    (2.9, 5.7, 9, 0), (2.1, 4.8, 7, 1), (2.8, 6.2, 8, 0), (4.0, 7.0, 7, 1),
    (3.3, 5.7, 6, 1), (3.7, 6.9, 5, 1), (3.6, 6.6, 5, 1),
)
# fmt: on


def ovarian_data() -> tuple[Floats, Flags]:
    """Scores (43, 3), larger = more likely to benefit (10 - K-G, albumin, total protein), and the outcome (43,)."""
    table = np.array(_PATIENTS, dtype=np.float64)
    return np.column_stack([10 - table[:, 2], table[:, 0], table[:, 1]]), table[:, 3] == 1
