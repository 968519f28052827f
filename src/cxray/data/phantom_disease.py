"""What the phantom's lungs may hold: consolidation or interstitial disease, and harmless things that look like it.

Disease is a fraction of the air that is filled, 0–1, on the patient's lattice; every film of a patient samples the
same lattice, so the disease stays where it is when the patient breathes or stands differently. Confounders (scars,
calcified spots, lines, leads) are drawn for healthy and diseased alike and never enter the mask.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from cxray.data.phantom_anatomy import LATTICE, Patient, lattice_noise
from cxray.data.phantom_shapes import Field, blur, film_grid, soft_step
from cxray.data.phantom_tissue import LUNG_DEPTH, View, render_lung

THIN, SMALL, ROUND = 0.0055, 0.010, 0.017
"""Blur of lines, calcified spots and round shadows, film units; few, so that a film needs few blurs."""

_FILLED_SHARE = {"lobar": (0.26, 0.62), "patchy": (0.24, 0.56), "interstitial": (0.26, 0.40)}
"""Share of the air filled where disease is densest: at severity 0, and what severity 1 adds."""


@dataclasses.dataclass(frozen=True, slots=True)
class Disease:
    """The disease of one patient: `filled` float32 (LATTICE, LATTICE), the share of air replaced by fluid, 0–1.

    `extent` is `filled` without its fine structure, from which the mask is cut.
    """

    pattern: str
    severity: float
    filled: Field
    extent: Field


@dataclasses.dataclass(frozen=True, slots=True)
class Strands:
    """Thin dense things as points: `points` float32 (N, 2), `thickness` and `spacing` (N,), one blur `sigma`."""

    points: Field
    thickness: Field
    spacing: Field
    sigma: float


@dataclasses.dataclass(frozen=True, slots=True)
class Places:
    """Points well inside the lung that is seen on a film: `points` float64 (N, 2), film units."""

    points: npt.NDArray[np.float64]

    @classmethod
    def of(cls, patient: Patient) -> Places:
        """Points of `patient` that keep clear of the lung's borders and of the apex."""
        x, y = film_grid(LATTICE)
        across, down = np.broadcast_arrays(x, y)
        view = View(x=across, y=down, turn=0.0, dome_shift=0.0, pixel=2.0 / LATTICE)
        seen = render_lung(patient, view) > 0.45 * LUNG_DEPTH * patient.thorax.depth
        inner = (blur(seen.astype(np.float32), 4.0) > 0.86) & (down > -0.45)
        return cls(np.stack([across[inner], down[inner]], axis=1).astype(np.float64))

    def draw(self, rng: np.random.Generator, *, side: int = 0) -> tuple[float, float]:
        """One point; in the right lung only for `side` -1, in the left only for 1."""
        points = self.points[self.points[:, 0] * side > 0] if side else self.points
        x, y = points[int(rng.integers(len(points)))]
        return float(x), float(y)


def draw_disease(places: Places, rng: np.random.Generator, *, difficulty: float) -> Disease:
    """Draw pattern, place and severity; a higher `difficulty` (0–1) gives more of the subtle cases."""
    pattern = tuple(_SHAPES)[int(rng.choice(3, p=(0.42, 0.36, 0.22)))]
    lowest = 0.62 - 0.52 * difficulty
    severity = float(lowest + (1.0 - lowest) * rng.beta(1.3, 1.0 + 1.2 * difficulty))
    shape = _SHAPES[pattern](places, severity, rng)
    least, gain = _FILLED_SHARE[pattern]
    filled = (np.clip(shape, 0.0, 1.0) * (least + gain * severity)).astype(np.float32)
    return Disease(pattern, severity, filled, extent=blur(filled, 2.5))


def _lobar(places: Places, severity: float, rng: np.random.Generator) -> Field:
    """A large part of one lung, cut by a fissure on one side and fading into the lung on the other."""
    x, y = film_grid(LATTICE)
    centre_x, centre_y = places.draw(rng)
    span = 0.17 + 0.15 * severity
    noise = lattice_noise(rng, (4.0, 9.0))
    reach = ((x - centre_x) / (span * 1.25)) ** 2 + ((y - centre_y) / span) ** 2
    cloud = soft_step(0.85 - reach + 0.40 * noise, 2.6)
    sharp_side = float(rng.choice([-1.0, 1.0]))
    fissure = centre_y + sharp_side * 0.6 * span + rng.uniform(-0.35, 0.35) * (x - centre_x)
    cut = soft_step((fissure - y) * sharp_side, 0.06)
    return cloud * (0.45 + 0.55 * cut) * _same_side(x, centre_x) * (0.86 + 0.13 * lattice_noise(rng, (1.2, 2.4, 5.0)))


def _patchy(places: Places, severity: float, rng: np.random.Generator) -> Field:
    """Several clouds, mostly in one lung."""
    x, y = film_grid(LATTICE)
    first_side = int(rng.choice([-1, 1]))
    count = 2 + int(rng.integers(0, 2 + round(3 * severity)))
    total = np.zeros((LATTICE, LATTICE), np.float32)
    for _ in range(count):
        side = first_side if rng.random() < 0.7 else -first_side
        centre_x, centre_y = places.draw(rng, side=side)
        radius = rng.uniform(0.09, 0.13 + 0.09 * severity)
        reach = ((x - centre_x) ** 2 + ((y - centre_y) * rng.uniform(0.8, 1.3)) ** 2) / radius**2
        total = np.maximum(total, np.exp(-reach) * rng.uniform(0.75, 1.0) * _same_side(x, centre_x))
    return soft_step(total + 0.15 * lattice_noise(rng, (1.6, 3.0, 6.0)) - 0.52, 1.25)


def _interstitial(places: Places, severity: float, rng: np.random.Generator) -> Field:
    """Net-like and nodular markings in both lungs, thicker toward the hila and bases."""
    x, y = film_grid(LATTICE)
    net = np.exp(-((lattice_noise(rng, (1.5,)) / 0.42) ** 2)) + 0.7 * np.exp(
        -((lattice_noise(rng, (2.2,)) / 0.35) ** 2)
    )
    haze = 0.5 + 0.25 * lattice_noise(rng, (8.0,))
    low = rng.uniform(0.1, 0.9)
    weight = (1 - low) * np.exp(-(((np.abs(x) - 0.22) / 0.26) ** 2) - ((y - 0.02) / 0.36) ** 2)
    weight = weight + low * soft_step(y - 0.02, 0.6)
    balance = 1.0 - rng.uniform(0.0, 0.5) * (x * rng.choice([-1.0, 1.0]) > 0)
    share: Field = np.clip(weight * (0.6 + 0.5 * severity), 0, 1) * balance * np.clip(0.55 * net + 0.45 * haze, 0, 1.2)
    return share


def _same_side(x: Field, centre_x: float) -> Field:
    beside: Field = (x * centre_x > 0).astype(np.float32)
    return beside


_SHAPES = {"lobar": _lobar, "patchy": _patchy, "interstitial": _interstitial}


def draw_scars(places: Places, rng: np.random.Generator, *, difficulty: float) -> list[Strands]:
    """Harmless things a patient keeps: fibrous strands, calcified spots, nipple shadows."""
    found = []
    for _ in range(int(rng.poisson(0.35 + 0.6 * difficulty))):
        found.append(_curve(places.draw(rng), rng.uniform(0.06, 0.18), rng, thickness=0.035, sigma=THIN))
    for _ in range(int(rng.poisson(0.5))):
        spot = np.array([places.draw(rng)], np.float32)
        found.append(_spots(spot, thickness=rng.uniform(0.06, 0.18), sigma=SMALL))
    if rng.random() < 0.25:
        height = rng.uniform(0.18, 0.3)
        nipples = np.array([[-0.42, height], [0.42, height]], np.float32)
        found.append(_spots(nipples, thickness=0.045, sigma=ROUND))
    return found


def draw_lines(rng: np.random.Generator) -> list[Strands]:
    """Things one film may show and the next not: a feeding tube, a venous line, leads with their electrodes."""
    found = []
    steps = np.linspace(0.0, 1.0, 220)[:, None]
    if rng.random() < 0.12:
        tube = np.hstack([0.012 * np.sin(5 * steps) + 0.05 * steps**3, -1.0 + 1.75 * steps])
        found.append(_path(tube, thickness=0.075, sigma=THIN))
    if rng.random() < 0.12:
        bow = np.hstack([-0.55 + 0.50 * steps, -0.62 + 0.50 * steps**2 + 0.06 * np.sin(3 * steps)])
        found.append(_path(bow, thickness=0.06, sigma=THIN))
    for _ in range(int(rng.poisson(0.25)) * 2):
        pad = np.array([rng.uniform(-0.6, 0.6), rng.uniform(-0.5, 0.5)])
        exit_point = np.array([np.sign(pad[0]) * 1.05, rng.uniform(-0.9, 0.9)])
        sag = np.hstack([0 * steps, 0.12 * np.sin(np.pi * steps)])
        found.append(_path(pad + (exit_point - pad) * steps + sag, thickness=0.07, sigma=THIN))
        found.append(_spots(pad[None].astype(np.float32), thickness=0.30, sigma=ROUND))
    return found


def _curve(
    start: tuple[float, float], length: float, rng: np.random.Generator, *, thickness: float, sigma: float
) -> Strands:
    steps = np.linspace(0.0, 1.0, 60)[:, None]
    angle = rng.uniform(0.0, np.pi) + rng.normal(0, 0.5) * steps
    points = np.array(start) + np.hstack([np.cos(angle), np.sin(angle)]) * (steps - 0.5) * length
    return _path(points, thickness=thickness * np.sin(np.pi * (0.1 + 0.8 * steps[:, 0])), sigma=sigma)


def _path(points: Field, *, thickness: float | Field, sigma: float) -> Strands:
    stride = np.hypot(*np.gradient(points, axis=0).T)
    return Strands(
        points.astype(np.float32),
        np.broadcast_to(thickness, len(points)).astype(np.float32),
        stride.astype(np.float32),
        sigma,
    )


def _spots(points: Field, *, thickness: float, sigma: float) -> Strands:
    # A spot is a point whose spacing makes the line formula give a Gaussian of the wanted height.
    spacing = np.full(len(points), np.sqrt(2 * np.pi) * sigma, np.float32)
    return Strands(points, np.full(len(points), thickness, np.float32), spacing, sigma)
