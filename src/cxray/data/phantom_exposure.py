"""From thickness to film: positioning, X-ray attenuation, scatter, noise, display curve, collimation and lettering.

The beam follows I = exp(-μ·thickness); a share of it is scattered (a wide blur), the rest carries Poisson-like noise;
the display shows -log I between automatically found limits through an S-shaped curve, white = dense (MONOCHROME2).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from cxray.data.phantom_anatomy import LATTICE, between
from cxray.data.phantom_shapes import Field, blur, film_grid, lettering, wide_blur
from cxray.data.phantom_tissue import View

SOFT_ATTENUATION, AIR_ATTENUATION, BONE_ATTENUATION = 3.1, 2.75, 4.4
"""μ per chest depth of thickness; that of air is what a beam is spared where air replaces soft tissue."""

_CURVE_STEPS = 8192


@dataclasses.dataclass(frozen=True, slots=True)
class Positioning:
    """How the patient stood for one film: lengths in film units, angle in degrees, positive `breath` = deeper."""

    shift_x: float = between(-0.05, 0.05)
    shift_y: float = between(-0.05, 0.05)
    angle_degrees: float = between(-3.5, 3.5)
    zoom: float = between(0.94, 1.07)
    turn: float = between(-0.025, 0.025)
    breath: float = between(-0.05, 0.05)


@dataclasses.dataclass(frozen=True, slots=True)
class Exposure:
    """How one film was taken and shown. `quanta` is the dose in counted quanta per pixel of a 256-pixel film."""

    quanta: float = between(5000.0, 22000.0)
    scatter: float = between(0.10, 0.32)
    vignetting: float = between(0.0, 0.10)
    contrast: float = between(0.8, 1.8)
    gamma: float = between(0.85, 1.18)
    darkest: float = between(0.12, 0.26)
    brightest: float = between(0.84, 0.95)
    enhancement: float = between(0.1, 0.6)


@dataclasses.dataclass(frozen=True, slots=True)
class Furniture:
    """What is not the patient: side marker ("", "L" or "R"), shutters and burned-in text.

    The borders are the widths of the shutters in 1/1000 of the film, 0 for none; `border_brightness` is their grey,
    0–1; `text` is "" for none.
    """

    marker: str
    border_left: int
    border_right: int
    border_top: int
    border_bottom: int
    border_brightness: float
    text: str


def make_view(position: Positioning, size_px: int) -> View:
    """Patient coordinates of every pixel."""
    x, y = film_grid(size_px)
    angle = np.deg2rad(position.angle_degrees)
    cos, sin = float(np.cos(angle)) / position.zoom, float(np.sin(angle)) / position.zoom
    across, down = x - position.shift_x, y - position.shift_y
    return View(
        x=cos * across + sin * down,
        y=cos * down - sin * across,
        turn=position.turn,
        dome_shift=position.breath,
        pixel=2.0 / size_px / position.zoom,
    )


def to_film(points: Field, position: Positioning) -> Field:
    """Film coordinates of points (N, 2) given in the patient's."""
    angle = np.deg2rad(position.angle_degrees)
    cos, sin = float(np.cos(angle)) * position.zoom, float(np.sin(angle)) * position.zoom
    x, y = points.T
    y = y * _stretch(position)
    shifted = np.stack([cos * x - sin * y + position.shift_x, sin * x + cos * y + position.shift_y], axis=1)
    return shifted.astype(np.float32)


def sample_lattice(lattice: Field, view: View, position: Positioning) -> Field:
    """A patient's lattice as seen on the film, float32 like `view`, bilinear; at its edges the lattice is continued."""
    half = np.float32(LATTICE / 2.0)
    x = np.clip((view.x + 1.0) * half - 0.5, 0.0, LATTICE - 1.001)
    y = np.clip((view.y * np.float32(1.0 / _stretch(position)) + 1.0) * half - 0.5, 0.0, LATTICE - 1.001)
    column, row = x.astype(np.intp), y.astype(np.intp)
    x -= column.astype(np.float32)
    y -= row.astype(np.float32)
    start = row * LATTICE + column
    cells = lattice.ravel()
    above, below = cells.take(start), cells.take(start + LATTICE)
    above += x * (cells.take(start + 1) - above)
    below += x * (cells.take(start + LATTICE + 1) - below)
    sampled: Field = above + y * (below - above)
    return sampled


def _stretch(position: Positioning) -> float:
    # The diaphragm moves by `breath`; what hangs in the lung follows in proportion to its height below the middle.
    return 1.0 + position.breath / 0.55


def expose(attenuation: Field, exposure: Exposure, rng: np.random.Generator) -> Field:
    """The picture from the total attenuation μ·thickness: float32, 0–1, white = dense."""
    size_px = attenuation.shape[0]
    x, y = film_grid(size_px)
    primary = np.exp(-attenuation) * (1.0 - exposure.vignetting * 0.5 * (x * x + y * y))
    scattered = wide_blur(primary, 0.11 * size_px)
    arriving = (1.0 - exposure.scatter) * primary + exposure.scatter * scattered
    # Fewer, larger pixels count more quanta each, so a small film is not noisier than the large one it came from.
    quanta = exposure.quanta * (256.0 / size_px) ** 2
    noise = rng.standard_normal(arriving.shape, dtype=np.float32) * np.sqrt(arriving / quanta)
    signal = -np.log(np.maximum(arriving + noise, 1e-4))
    signal = blur(signal, 0.5 * size_px / 256.0 + 0.12)
    return _display(signal, exposure)


def _display(signal: Field, exposure: Exposure) -> Field:
    """Automatic limits from the body's own histogram, local contrast, then the S-shaped curve."""
    local = signal + exposure.enhancement * (signal - wide_blur(signal, 0.07 * signal.shape[0]))
    step = max(1, signal.shape[0] // 64)
    inside = local[::step, ::step][signal[::step, ::step] > 0.35]
    low, high = np.percentile(inside, (6.0, 96.0)) if inside.size else (0.0, 1.0)
    grey = (local - float(low)) * (
        (exposure.brightest - exposure.darkest) / float(high - low + 1e-3)
    ) + exposure.darkest
    return _film_curve(exposure)[(np.clip(grey, 0.0, 1.0) * np.float32(_CURVE_STEPS)).astype(np.int32)]


def _film_curve(exposure: Exposure) -> Field:
    """Display grey for input grey 0–1 in `_CURVE_STEPS` equal steps: toe and shoulder, then gamma."""
    grey = np.linspace(0.0, 1.0, _CURVE_STEPS + 1)
    curved = 0.5 + 0.5 * np.tanh(exposure.contrast * (grey - 0.5)) / np.tanh(0.5 * exposure.contrast)
    return np.asarray(np.clip(curved, 0.0, 1.0) ** exposure.gamma, dtype=np.float32)


def furnish(film: Field, furniture: Furniture) -> Field:
    """Shutters, side marker and burned-in text over the finished picture, which is left as it was."""
    size_px = film.shape[0]
    film = film.copy()
    borders = (furniture.border_left, furniture.border_right, furniture.border_top, furniture.border_bottom)
    left, right, top, bottom = (round(size_px * border / 1000) for border in borders)
    covered = np.ones(film.shape, bool)
    covered[top : size_px - bottom, left : size_px - right] = False
    film[covered] = furniture.border_brightness
    if furniture.marker:
        # Each letter lies on its own side of the patient: "R" on the left of the film.
        margin = round(size_px * 0.055)
        _write(film, furniture.marker, row=margin, column=margin if furniture.marker == "R" else -margin, stroke=110)
    if furniture.text:
        _write(film, furniture.text, row=-round(size_px * 0.035), column=round(size_px * 0.04), stroke=256)
    return film


def _write(film: Field, text: str, *, row: int, column: int, stroke: int) -> None:
    """Burn `text` into `film`; a negative row or column counts from the far edge; strokes are 1/`stroke` wide."""
    size_px = film.shape[0]
    letters = lettering(text, scale=max(1, round(size_px / stroke)))
    height, width = letters.shape
    row = row if row >= 0 else size_px + row - height
    column = column if column >= 0 else size_px + column - width
    window = film[row : row + height, column : column + width]
    np.maximum(window, 0.95 * letters[:, : window.shape[1]], out=window)
