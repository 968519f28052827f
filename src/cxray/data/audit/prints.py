"""What is printed into the corners of a film: letters, times, tube voltages. Films with the same print are grouped.

The same print at the same place mostly comes from the same machine. It is found without being read: thin, bright marks
are what a white top-hat leaves of a corner (Serra 1982, Image Analysis and Mathematical Morphology), and two corners
hold the same print when their marks lie mostly in the same places: a time or a tube voltage that changes from film to
film stays one print. Print smaller than about a fiftieth of the film's height is lost, and one that wanders by more
than its own stroke counts as another.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

CORNERS = ("upper left", "upper right", "lower left", "lower right")
# An eighth of the height by a quarter of the width: at 224 pixels a side one pixel is one pixel.
HEIGHT, WIDTH = 28, 56
PACKED_BYTES = HEIGHT * WIDTH // 8
# Strokes are thinner than the square that opens the picture, and this much brighter than their ground, of 255.
_THICKEST_STROKE = 5
_STANDS_OUT_BY = 60
# Fewer marks than this are dust.
_FEWEST_MARKS = 12
# Two corners correlate by this much when they hold the same print; marks are widened first, so that a pixel may be off.
_ALIKE_FROM = 0.5
_WIDENED_BY = 0.7
# Prints are looked for among this many films of a corner, because every film is compared with every other, and then
# found again in all others.
_MOST_COMPARED = 2000
_COMPARED_AT_ONCE = 8192
FEWEST_FILMS = 20


def corner_prints(film: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Where the four corners of a film (height, width), 0–255, have thin bright marks: bits, uint8 (4, 196)."""
    rows, columns = max(1, film.shape[0] * HEIGHT // 224), max(1, film.shape[1] * WIDTH // 224)
    places = [(vertical, across) for vertical in (slice(rows), slice(-rows, None)) for across in _sides(columns)]
    corners = np.stack([_of_one_size(film[place]) for place in places])
    ground = _slide(np.maximum, _slide(np.minimum, corners, outside=255), outside=0)
    return np.packbits((corners - ground > _STANDS_OUT_BY).reshape(len(CORNERS), -1), axis=1)


def _slide(choose: np.ufunc, corners: npt.NDArray[np.uint8], outside: int) -> npt.NDArray[np.uint8]:
    """The least or largest grey in the 5 x 5 pixels around each, uint8 (corners, 28, 56), ignoring what lies outside.

    As `scipy.ndimage.grey_erosion` and `grey_dilation`, without their overhead on pictures this small.
    """
    reach = _THICKEST_STROKE // 2
    wide = np.full((len(corners), HEIGHT + 2 * reach, WIDTH + 2 * reach), outside, dtype=np.uint8)
    wide[:, reach:-reach, reach:-reach] = corners
    steps = range(_THICKEST_STROKE)
    tall = functools.reduce(choose, [wide[:, step : step + HEIGHT] for step in steps])
    return np.asarray(functools.reduce(choose, [tall[:, :, step : step + WIDTH] for step in steps]))


def _sides(columns: int) -> tuple[slice, slice]:
    return slice(columns), slice(-columns, None)


def _of_one_size(corner: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if corner.shape == (HEIGHT, WIDTH):
        return corner
    return np.asarray(Image.fromarray(corner).resize((WIDTH, HEIGHT), Image.Resampling.BOX))


def same_print(prints: npt.NDArray[np.uint8], seed: int) -> dict[str, npt.NDArray[np.bool_]]:
    """Groups of at least 20 films with the same print in a corner: what to call each, and bool (films,).

    `prints` uint8 (films, 4, 196). A film is in at most one group of each corner. Larger groups come first in a corner.
    """
    groups: dict[str, npt.NDArray[np.bool_]] = {}
    for corner, place in enumerate(CORNERS):
        number = _prints_of(prints[:, corner], seed)
        sizes = np.bincount(number[number >= 0])
        for rank, chosen in enumerate(np.argsort(-sizes, kind="stable"), start=1):
            if sizes[chosen] >= FEWEST_FILMS:
                groups[f"print {rank} in the {place} corner"] = number == chosen
    return groups


def _prints_of(packed: npt.NDArray[np.uint8], seed: int) -> npt.NDArray[np.int64]:
    """Which print each film of one corner has, int64 (films,); -1 for none that repeats."""
    number = np.full(len(packed), -1, dtype=np.int64)
    marked = np.flatnonzero(np.bitwise_count(packed).sum(axis=1) >= _FEWEST_MARKS)
    if len(marked) < FEWEST_FILMS:
        return number
    compared = np.sort(np.random.default_rng(seed).permutation(marked)[:_MOST_COMPARED])
    fewest = max(5, FEWEST_FILMS * len(compared) // len(marked))
    patterns = _patterns(_rows(packed[compared]), fewest)
    if not len(patterns):
        return number
    for start in range(0, len(marked), _COMPARED_AT_ONCE):
        films = marked[start : start + _COMPARED_AT_ONCE]
        likeness = _rows(packed[films]) @ patterns.T
        number[films] = np.where(likeness.max(axis=1) > _ALIKE_FROM, likeness.argmax(axis=1), -1)
    return number


def _patterns(rows: npt.NDArray[np.float32], fewest: int) -> npt.NDArray[np.float32]:
    """The mean of each group of like rows, float32 (patterns, 1568): the largest group first, then what it leaves."""
    alike = rows @ rows.T > _ALIKE_FROM
    free = np.ones(len(rows), dtype=bool)
    neighbours = alike.sum(axis=1)
    found: list[npt.NDArray[np.float32]] = []
    while True:
        centre = int(np.where(free, neighbours, -1).argmax())
        if neighbours[centre] < fewest:
            return np.array(found, dtype=np.float32).reshape(-1, rows.shape[1])
        members = alike[centre] & free
        mean = rows[members].mean(axis=0)
        found.append(mean / np.linalg.norm(mean))
        free &= ~members
        neighbours -= alike[:, members].sum(axis=1)


def _rows(packed: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Marks, uint8 (films, 196), widened, of mean 0 and length 1: the product of two rows is their correlation."""
    marks = np.unpackbits(packed, axis=1).reshape(-1, HEIGHT, WIDTH).astype(np.float32)
    rows = ndimage.gaussian_filter(marks, (0, _WIDENED_BY, _WIDENED_BY)).reshape(len(marks), -1)
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-6))
    return np.asarray(rows)
