"""What lies around the film: padding and display shutters become black (PS3.3, C.7.5.1.1.2 and C.7.6.11).

Both are declared in the header. Padding must not take part in the display, and on MONOCHROME1 films it would turn
white.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from cxray.data.dicom.source import decimals, integer, text

KEYWORDS = (
    "PixelPaddingValue", "PixelPaddingRangeLimit", "ShutterShape", "ShutterLeftVerticalEdge",
    "ShutterRightVerticalEdge", "ShutterUpperHorizontalEdge", "ShutterLowerHorizontalEdge", "CenterOfCircularShutter",
    "RadiusOfCircularShutter", "VerticesOfThePolygonalShutter",
)  # fmt: skip
# What covers more than this cannot be a border; the header must be wrong.
_MOST_COVERED = 0.9


def blacken_borders(
    grey: npt.NDArray[np.float32], patterns: npt.NDArray[np.uint16], dataset: Any, facts: list[str]
) -> None:
    """Set padding and what lies behind shutters to 0, in place; `grey` and `patterns` are (rows, columns)."""
    for what, hidden in (("padding", _padding(patterns, dataset)), ("shutter", _behind_shutters(grey.shape, dataset))):
        if hidden is None or not hidden.any():
            continue
        share = float(hidden.mean())
        if share > _MOST_COVERED:
            facts.append(f"{what} over {share:.0%} of the film ignored")
            continue
        grey[hidden] = 0
        facts.append(f"{what} made black, {share:.1%} of the film")


def _padding(patterns: npt.NDArray[np.uint16], dataset: Any) -> npt.NDArray[np.bool_] | None:
    padding = decimals(dataset, "PixelPaddingValue")
    if not padding:
        return None
    limit = decimals(dataset, "PixelPaddingRangeLimit") or padding
    low, high = sorted((int(padding[0]), int(limit[0])))
    bits = integer(dataset, "BitsStored", 16)
    mask = (1 << bits) - 1
    if (low < 0) != (high < 0):  # a range across zero is two ranges of bit patterns
        return np.asarray((patterns >= (low & mask)) | (patterns <= high))
    return np.asarray((patterns >= (low & mask)) & (patterns <= (high & mask)))


def _behind_shutters(shape: tuple[int, ...], dataset: Any) -> npt.NDArray[np.bool_] | None:
    shapes = text(dataset, "ShutterShape").upper().split("\\")
    visible = [
        window
        for name, draw in (("RECTANGULAR", _rectangle), ("CIRCULAR", _circle), ("POLYGONAL", _polygon))
        if name in shapes and (window := draw(shape, dataset)) is not None
    ]
    return ~np.logical_and.reduce(visible) if visible else None


def _rectangle(shape: tuple[int, ...], dataset: Any) -> npt.NDArray[np.bool_] | None:
    names = ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")
    edges = [decimals(dataset, f"Shutter{name}Edge") for name in names]
    if not all(edges):
        return None
    left, right, upper, lower = (int(edge[0]) for edge in edges)
    rows, columns = np.arange(1, shape[0] + 1)[:, np.newaxis], np.arange(1, shape[1] + 1)
    return np.asarray((rows > upper) & (rows < lower) & (columns > left) & (columns < right))


def _circle(shape: tuple[int, ...], dataset: Any) -> npt.NDArray[np.bool_] | None:
    centre, radius = decimals(dataset, "CenterOfCircularShutter"), decimals(dataset, "RadiusOfCircularShutter")
    if len(centre) != 2 or not radius:
        return None
    rows, columns = np.arange(1, shape[0] + 1)[:, np.newaxis], np.arange(1, shape[1] + 1)
    return np.asarray((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius[0] ** 2)


def _polygon(shape: tuple[int, ...], dataset: Any) -> npt.NDArray[np.bool_] | None:
    vertices = decimals(dataset, "VerticesOfThePolygonalShutter")
    if len(vertices) < 6 or len(vertices) % 2:
        return None
    mask = Image.new("1", (shape[1], shape[0]))
    corners = [(column - 1, row - 1) for row, column in zip(vertices[::2], vertices[1::2], strict=True)]
    ImageDraw.Draw(mask).polygon(corners, fill=1)
    return np.asarray(mask)
