"""The result as a Grayscale Softcopy Presentation State: the outline of the activated area over the untouched film.

Only written when a finding is present and there is an activation to outline. The outline is where the activation
reaches half its maximum, in pixels of the film; a polyline holds at most `MOST_POINTS` points.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from highdicom.color import CIELabColor
from highdicom.content import PresentationLUTTransformation
from highdicom.pr import GraphicAnnotation, GraphicLayer, GraphicObject, GrayscaleSoftcopyPresentationState, TextObject
from pydicom import Dataset

from cxray.pacs.identity import Identity
from cxray.pacs.reading import Maker, Reading

MOST_POINTS = 200
_LEVEL = 0.5
# Yellow in CIELab (D50).
_YELLOW = CIELabColor(90.0, -5.0, 80.0)


def presentation_state(film: Dataset, reading: Reading, maker: Maker) -> GrayscaleSoftcopyPresentationState | None:
    """The presentation state of one film, or None when there is nothing to outline; see `structured_report`."""
    if not reading.present or reading.activation is None or film.SamplesPerPixel != 1:
        return None
    outlines = outline(reading.activation, int(film.Rows), int(film.Columns))
    if not outlines:
        return None
    identity = Identity.of(film, maker, "gsps")
    layer = GraphicLayer("CXRAY", order=1, description="Area of class activation", display_color=_YELLOW)
    annotation = GraphicAnnotation(
        referenced_images=[film],
        graphic_layer=layer,
        graphic_objects=[GraphicObject("POLYLINE", points, "PIXEL") for points in outlines],
        text_objects=[_caption(reading)],
    )
    is_inverted = film.PhotometricInterpretation == "MONOCHROME1"
    return GrayscaleSoftcopyPresentationState(
        referenced_images=[film],
        content_label="CXRAY_ACTIVATION",
        content_description="Area of class activation; research use only",
        graphic_annotations=[annotation],
        graphic_layers=[layer],
        # A presentation state replaces the film's own polarity, so MONOCHROME1 has to be said again (PS3.3, C.11.6).
        presentation_lut_transformation=PresentationLUTTransformation(
            presentation_lut_shape="INVERSE" if is_inverted else "IDENTITY"
        ),
        series_description=f"{maker.name} outline - research use",
        **identity.arguments(maker, reading.made),
    )


def outline(activation: npt.NDArray[np.float32], rows: int, columns: int) -> list[npt.NDArray[np.float64]]:
    """Closed polylines (points, 2) as column and row in pixels of a film of `rows` x `columns`, largest first.

    The centre of the upper left pixel is (1, 1) (PS3.3, C.10.5.1.2). A map that is flat has no outline.
    """
    from contourpy import contour_generator

    top = float(activation.max())
    if not np.isfinite(top) or top <= 0:
        return []
    # A rim of zeros closes outlines that would run out of the film.
    area = np.pad(np.asarray(activation, dtype=np.float64), 1)
    height, width = activation.shape
    lines: Any = contour_generator(z=area).lines(_LEVEL * top)
    scaled = []
    for line in lines:
        x = np.clip((line[:, 0] - 0.5) * columns / width + 0.5, 1, columns)
        y = np.clip((line[:, 1] - 0.5) * rows / height + 0.5, 1, rows)
        points = _thinned(np.column_stack([x, y]))
        if len(points) >= 4:
            scaled.append(points)
    return sorted(scaled, key=_enclosed, reverse=True)


def _thinned(points: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    step = max(1, -(-len(points) // (MOST_POINTS - 1)))
    kept = points[::step]
    return np.vstack([kept, points[:1]]) if not np.array_equal(kept[-1], points[0]) else kept


def _enclosed(points: npt.NDArray[Any]) -> float:
    x, y = points[:, 0], points[:, 1]
    return abs(float(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))) / 2


def _caption(reading: Reading) -> TextObject:
    said = ", ".join(f"{finding.code.meaning} {finding.probability:.2f}" for finding in reading.present)
    return TextObject(
        f"{said}; research use only", "DISPLAY", bounding_box=(0.02, 0.94, 0.98, 0.99), text_justification="LEFT"
    )
