"""Films for the bundle that finds what is bright; without the extra pacs the tests that need them are skipped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("highdicom", reason="needs the extra pacs")
pytest.importorskip("pynetdicom", reason="needs the extra pacs")

from tests.data.dicom.films import film

ROWS, COLUMNS = 320, 256
# Rows and columns of the bright patch of an ill film.
PATCH = (slice(180, 300), slice(30, 130))


def draw_film(*, ill: bool, patient: str, **elements: Any) -> Any:
    """A film with or without the bright patch, 12 bits."""
    pixels = np.full((ROWS, COLUMNS), 1200, dtype=np.uint16)
    pixels += np.random.default_rng(sum(patient.encode())).integers(0, 200, pixels.shape, dtype=np.uint16)
    if ill:
        pixels[PATCH] = 3900
    return film(pixels, patient=patient, **elements)
