"""Which films could be the same exposure, however one of them was turned or mirrored?

A film is sampled on circles about its middle. Turning it shifts every circle, mirroring reverses it, and the sizes of a
circle's Fourier coefficients change by neither (the idea behind Zernike moments, Teague 1980, J Opt Soc Am 70:920). In
whitened principal components of these sizes two films of one exposure lie close together and those of two patients do
not, although all chest films look alike: what all share is what whitening takes away. `near_pairs` proposes pairs by
that distance; `best_turns` says by how much one film of a pair has to be turned, and how alike the two are then.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from cxray.data.audit.probes import components
from cxray.data.audit.scan import Flags, Floats, Integers

# Of each circle the mean and 12 frequencies are kept, 1.5 kB a film; the first 8 tell films apart.
_CIRCLES, _ANGLES, _FREQUENCIES, _HARMONICS = 14, 64, 12, 8
_FINE_ANGLES = 256
_COMPONENTS = 24
# In standard deviations of 24 components. Measured on 150 films of children: JPEG at quality 30 lies within 0.3, any
# turn within 0.6, gamma 0.7–1.3 within 2, cropped by 2 % within 3.5 (phantoms 4.5); the nearest strangers at 1.8.
_RADIUS = 4.5
_MOST_NEIGHBOURS = 8
_BLOCK_CELLS = 1 << 25
_CHUNK = 2048

Complex = npt.NDArray[np.complex64]


@dataclasses.dataclass(frozen=True)
class Turns:
    """How the second film of each pair has to be changed to lie as the first: mirrored left to right where
    `is_mirrored`, then turned by `degrees` (−180 to 180) counter-clockwise; `correlation` (−1 to 1) of the two discs
    then. All of shape (pairs,)."""

    degrees: Floats
    is_mirrored: Flags
    correlation: Floats

    def select(self, pairs: Integers) -> Turns:
        """The same of some of the pairs, in this order."""
        return Turns(self.degrees[pairs], self.is_mirrored[pairs], self.correlation[pairs])


def circles_of(thumbnails: npt.NDArray[np.uint8]) -> Complex:
    """Films, uint8 (N, side, side), as Fourier coefficients of circles, (N, circles, frequencies + 1)."""
    parts = [_circles(thumbnails[start : start + _CHUNK]) for start in range(0, len(thumbnails), _CHUNK)]
    return np.concatenate([np.empty((0, _CIRCLES, _FREQUENCIES + 1), dtype=np.complex64), *parts])


def near_pairs(circles: Complex) -> tuple[Integers, Integers]:
    """Positions i < j of films that are near whatever way they lie; nearest first.

    Each film proposes its `_MOST_NEIGHBOURS` nearest: with many copies of a film, others of the pairs join them.
    """
    if len(circles) < 2:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    sizes = _sizes(circles)
    points = components(sizes, np.ones(len(sizes), dtype=bool), _COMPONENTS).astype(np.float32)
    first, second, squared = _within_radius(points)
    order = np.argsort(squared, kind="stable")
    first, second = first[order], second[order]
    keep = (_rank(first) < _MOST_NEIGHBOURS) | (_rank(second) < _MOST_NEIGHBOURS)
    return first[keep], second[keep]


def best_turns(circles: Complex, first: Integers, second: Integers) -> Turns:
    """How film `second` has to be turned to lie as film `first`, for positions (pairs,) in `circles`."""
    parts = [
        _turn(circles[first[k : k + _CHUNK]], circles[second[k : k + _CHUNK]]) for k in range(0, len(first), _CHUNK)
    ]
    degrees, is_mirrored, correlation = (
        (np.concatenate([part[n] for part in parts]) if parts else np.empty(0)) for n in range(3)
    )
    return Turns(degrees.astype(np.float64), is_mirrored.astype(bool), correlation.astype(np.float64))


def _turn(one: Complex, two: Complex) -> tuple[npt.NDArray[np.float32], Flags, npt.NDArray[np.float32]]:
    """Degrees, mirrored?, correlation for pairs of coefficients (pairs, circles, frequencies)."""
    straight = _over_angles(one, two)
    mirrored = _over_angles(one, np.conj(two))
    is_mirrored = mirrored.max(axis=1) > straight.max(axis=1)
    curves = np.where(is_mirrored[:, None], mirrored, straight)
    degrees = _peak(curves) * np.float32(360 / _FINE_ANGLES)
    # Reversing the angle is a mirror image top to bottom; half a turn more makes it one of left to right.
    degrees = np.where(is_mirrored, degrees + 180, degrees)
    return (180 - (180 - degrees) % 360).astype(np.float32), is_mirrored, curves.max(axis=1)


def _peak(curves: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Where each row is highest, in steps, between the samples by the parabola through the three highest."""
    rows, best = np.arange(len(curves)), curves.argmax(axis=1)
    before, top, after = (curves[rows, (best + step) % curves.shape[1]] for step in (-1, 0, 1))
    bend = np.maximum(2 * top - before - after, 1e-6)
    return np.asarray(best + np.clip((after - before) / (2 * bend), -0.5, 0.5), dtype=np.float32)


def _over_angles(one: Complex, two: Complex) -> npt.NDArray[np.float32]:
    """Correlation for every fine angle, (pairs, fine angles)."""
    products = np.einsum("pcf,pcf->pf", np.conj(one), two)
    return np.asarray(np.fft.irfft(products, _FINE_ANGLES, axis=1) * _FINE_ANGLES, dtype=np.float32)


def _circles(films: npt.NDArray[np.uint8]) -> Complex:
    """The coefficients of one portion, scaled so that products of two films sum to their correlation."""
    y, x = _places(films.shape[1])
    y0, x0 = y.astype(np.int64), x.astype(np.int64)
    down, right = (y - y0).astype(np.float32), (x - x0).astype(np.float32)
    grey = films.astype(np.float32)
    upper = grey[:, y0, x0] * (1 - right) + grey[:, y0, x0 + 1] * right
    lower = grey[:, y0 + 1, x0] * (1 - right) + grey[:, y0 + 1, x0 + 1] * right
    sampled = upper * (1 - down) + lower * down
    area = np.arange(1, 2 * _CIRCLES, 2, dtype=np.float32)[:, None] / np.float32(_CIRCLES**2 * _ANGLES)
    sampled -= (sampled * area).sum(axis=(1, 2), keepdims=True)
    found = np.fft.rfft(sampled, axis=2)[:, :, : _FREQUENCIES + 1] * np.sqrt(area / _ANGLES)
    counted = np.r_[1.0, np.full(_FREQUENCIES, 2.0)]  # a frequency stands for its negative as well
    length = np.sqrt((np.abs(found) ** 2 * counted).sum(axis=(1, 2), keepdims=True))
    return np.asarray(found / np.maximum(length, 1e-3), dtype=np.complex64)


def _places(side: int) -> tuple[Floats, Floats]:
    """Rows and columns of the samples, (circles, angles), in pixels."""
    middle = (side - 1) / 2
    radius = (np.arange(_CIRCLES)[:, None] + 0.5) / _CIRCLES * (middle - 0.5)
    angle = 2 * np.pi * np.arange(_ANGLES) / _ANGLES
    return middle + radius * np.sin(angle), middle + radius * np.cos(angle)


def _sizes(circles: Complex) -> npt.NDArray[np.float32]:
    """What neither a turn nor a mirror changes, float32 (N, circles × (harmonics + 1))."""
    sizes = np.abs(circles[:, :, : _HARMONICS + 1])
    sizes[:, :, 0] = circles[:, :, 0].real  # the mean of a circle keeps its sign
    return sizes.reshape(len(circles), -1)


def _within_radius(points: npt.NDArray[np.float32]) -> tuple[Integers, Integers, npt.NDArray[np.float32]]:
    """Pairs i < j nearer than the radius, and their squared distances, block by block."""
    half = (points**2).sum(axis=1) / 2
    # One product gives a·b − |b|²/2, which exceeds (|a|² − r²)/2 where the distance is below r.
    right = np.column_stack([points, -half]).T.copy()
    left = np.column_stack([points, np.ones(len(points), dtype=np.float32)])
    floor = half - np.float32(_RADIUS**2 / 2)
    step = max(1, _BLOCK_CELLS // len(points))
    found = []
    for start in range(0, len(points), step):
        product = left[start : start + step] @ right[:, start:]
        row, column = np.nonzero(product > floor[start : start + step, None])
        later = column > row
        row, column = row[later], column[later]
        squared = 2 * (half[start + row] - product[row, column])
        found.append(_nearest(row + start, column + start, squared))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))  # type: ignore[return-value]


def _nearest(
    first: Integers, second: Integers, squared: npt.NDArray[np.float32]
) -> tuple[Integers, Integers, npt.NDArray[np.float32]]:
    """At most some nearest pairs of each first film, so that a thousand equal films are not a million pairs."""
    order = np.argsort(squared, kind="stable")
    order = order[_rank(first[order]) < 4 * _MOST_NEIGHBOURS]
    return first[order], second[order], squared[order]


def _rank(groups: Integers) -> Integers:
    """How many earlier entries have the same value, (n,)."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(groups[order]) != 0]) if len(groups) else np.empty(0, dtype=np.int64)
    within = np.arange(len(groups)) - np.repeat(starts, np.diff(np.r_[starts, len(groups)]))
    rank = np.empty(len(groups), dtype=np.int64)
    rank[order] = within
    return rank
