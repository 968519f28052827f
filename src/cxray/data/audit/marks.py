"""Burned-in lettering: is there a line of text on the film?

A laterality letter is normal and is not text. What is looked for is a row of at least five separate, equally tall,
nearly white marks on darker ground, side by side: a name, a date, a hospital. That is a heuristic; it proposes films
for a person to look at and does not read.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

MINIMUM_GLYPHS = 5
_WHITE_LEVEL = 230
_GROUND_LEVEL = 153
# A glyph is at least 5 pixels tall, else it is noise, and at most this share of the film's height, else anatomy.
_SMALLEST_PIXELS = 5
_LARGEST_SHARE = 0.07
# More white than this is bone or overexposure, in which no letters can be told apart.
_MOST_WHITE_SHARE = 0.2


def count_text_lines(pixels: npt.NDArray[np.uint8]) -> int:
    """How many lines of burned-in text a film seems to carry; `pixels` uint8 (height, width)."""
    white = pixels >= _WHITE_LEVEL
    if not 0 < white.mean() <= _MOST_WHITE_SHARE:
        return 0
    labelled, found = ndimage.label(white, structure=np.ones((3, 3)))
    if found < MINIMUM_GLYPHS:
        return 0
    glyphs = _glyph_boxes(pixels, labelled)
    return _count_lines(glyphs) if len(glyphs) >= MINIMUM_GLYPHS else 0


def _glyph_boxes(pixels: npt.NDArray[np.uint8], labelled: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """Boxes of glyph-like marks, float64 (marks, 4): centre row, height, first column, last column."""
    tallest = max(_SMALLEST_PIXELS + 1.0, _LARGEST_SHARE * pixels.shape[0])
    boxes = []
    for number, box in enumerate(ndimage.find_objects(labelled), start=1):
        height, width = box[0].stop - box[0].start, box[1].stop - box[1].start
        is_sized = _SMALLEST_PIXELS <= height <= tallest and width <= 1.6 * height
        if is_sized and _stands_out(pixels, labelled, number, box):
            boxes.append(((box[0].start + box[0].stop) / 2, height, box[1].start, box[1].stop))
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def _stands_out(
    pixels: npt.NDArray[np.uint8], labelled: npt.NDArray[np.int32], number: int, box: tuple[slice, slice]
) -> bool:
    # Letters are drawn, so the film around them is clearly darker two pixels away; bright bone fades slowly.
    wide = tuple(slice(max(0, side.start - 3), side.stop + 3) for side in box)
    ring = ~ndimage.binary_dilation(labelled[wide] == number, iterations=2)
    around = pixels[wide][ring]
    return bool(around.size) and float(np.median(around)) < _GROUND_LEVEL


def _count_lines(glyphs: npt.NDArray[np.float64]) -> int:
    left = glyphs[np.argsort(glyphs[:, 2])]
    free = np.ones(len(left), dtype=bool)
    lines = 0
    for start in range(len(left)):
        if not free[start]:
            continue
        members = _follow(left, start, free)
        if len(members) >= MINIMUM_GLYPHS:
            free[members] = False
            lines += 1
    return lines


def _follow(glyphs: npt.NDArray[np.float64], start: int, free: npt.NDArray[np.bool_]) -> list[int]:
    """The glyphs that continue the line to the right of `start`: same height, same level, close by."""
    members = [start]
    row, height, _, end = glyphs[start]
    for index in range(start + 1, len(glyphs)):
        centre, tall, first, last = glyphs[index]
        is_near = 0 <= first - end + 1 <= 2.5 * height
        if free[index] and is_near and abs(centre - row) <= 0.35 * height and 0.6 <= tall / height <= 1.6:
            members.append(index)
            end = last
    return members
