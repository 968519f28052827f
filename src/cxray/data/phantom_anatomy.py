"""The patient of the phantom: a frame of bones, lungs and heart as numbers, and the vessels and texture of the lungs.

Every number is drawn uniformly from the range beside its name. Lengths are in film units (the film reaches from -1
to 1 in x and y, the patient's right at negative x, y downward); thickness is in units of one chest depth. The same
patient has the same `Patient` on every film; what differs between films is in `phantom_exposure.Positioning`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import numpy as np
from scipy.interpolate import PchipInterpolator

from cxray.data.phantom_shapes import Field, blur

LATTICE = 128
"""Cells along one side of the square lattice, over the whole film, that holds texture and disease of a patient."""

T = TypeVar("T")


def between(low: float, high: float) -> Any:
    """A dataclass field that `draw_parameters` draws uniformly from `low` to `high`."""
    return dataclasses.field(metadata={"range": (low, high)})


def draw_parameters(kind: type[T], rng: np.random.Generator) -> T:
    """Draw every field of the dataclass `kind` uniformly from the range in its metadata."""
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    return kind(**{field.name: float(rng.uniform(*field.metadata["range"])) for field in fields})


@dataclasses.dataclass(frozen=True, slots=True)
class Thorax:
    """Outline of the chest, the lungs and the soft tissue around them."""

    half_width: float = between(0.67, 0.77)
    apex_y: float = between(-0.74, -0.66)
    apex_x: float = between(0.28, 0.33)
    widest_y: float = between(0.30, 0.50)
    dome_y: float = between(0.40, 0.50)
    left_dome_drop: float = between(0.02, 0.07)
    dome_height: float = between(0.18, 0.28)
    wall: float = between(0.09, 0.22)
    depth: float = between(0.85, 1.15)
    neck_half_width: float = between(0.24, 0.32)
    shoulder_y: float = between(-0.80, -0.70)
    arm_lift: float = between(0.0, 1.0)
    breast: float = between(-0.35, 0.30)
    stomach_bubble: float = between(-0.10, 0.10)


@dataclasses.dataclass(frozen=True, slots=True)
class Mediastinum:
    """Heart, great vessels and airways."""

    heart_left: float = between(0.40, 0.52)
    heart_right: float = between(0.17, 0.25)
    apex_y: float = between(0.37, 0.48)
    waist: float = between(0.145, 0.20)
    aortic_knob: float = between(0.135, 0.18)
    upper_half_width: float = between(0.105, 0.145)
    carina_y: float = between(-0.27, -0.19)
    trachea_shift: float = between(-0.02, 0.01)


@dataclasses.dataclass(frozen=True, slots=True)
class Skeleton:
    """Ribs, spine, clavicles and shoulder blades."""

    rib_count: float = between(9.6, 11.4)
    rib_first_y: float = between(-0.76, -0.71)
    rib_spacing: float = between(0.132, 0.150)
    rib_drop: float = between(0.50, 0.72)
    rib_rise: float = between(0.02, 0.06)
    rib_half_width: float = between(0.026, 0.034)
    rib_density: float = between(0.8, 1.15)
    spine_half_width: float = between(0.080, 0.100)
    spine_bend: float = between(-0.02, 0.02)
    clavicle_y: float = between(-0.60, -0.52)
    clavicle_rise: float = between(0.06, 0.16)
    scapula_x: float = between(0.66, 0.80)


@dataclasses.dataclass(frozen=True, slots=True)
class Vessels:
    """Lung vessels as points along branching lines.

    `points` float32 (N, 2) x and y; `radius` (N,) and `spacing` (N,) to the neighbour on the same branch, film units.
    """

    points: Field
    radius: Field
    spacing: Field


@dataclasses.dataclass(frozen=True, slots=True)
class Patient:
    """One patient without disease: numbers, vessels, rib irregularities, and lung texture on the lattice (mean 0)."""

    thorax: Thorax
    mediastinum: Mediastinum
    skeleton: Skeleton
    vessels: Vessels
    rib_offsets: Field
    texture: Field


def draw_patient(rng: np.random.Generator) -> Patient:
    """Draw a patient; the order of draws is part of what a seed means."""
    thorax = draw_parameters(Thorax, rng)
    mediastinum = draw_parameters(Mediastinum, rng)
    skeleton = draw_parameters(Skeleton, rng)
    vessels = _grow_vessels(thorax, mediastinum, rng)
    rib_offsets = rng.normal(0.0, 0.005, (2, 16)).astype(np.float32)
    return Patient(thorax, mediastinum, skeleton, vessels, rib_offsets, lattice_noise(rng, (1.0, 2.2, 7.0)))


def lattice_noise(rng: np.random.Generator, sigmas: tuple[float, ...]) -> Field:
    """Sum of equally strong smooth noises on the lattice, blurred by `sigmas` cells; mean 0, standard deviation 1."""
    total = np.zeros((LATTICE, LATTICE), np.float32)
    for sigma in sigmas:
        layer = blur(rng.standard_normal((LATTICE, LATTICE), dtype=np.float32), sigma)
        total += layer / layer.std()
    scaled: Field = (total - total.mean()) / total.std()
    return scaled


def lung_sides(thorax: Thorax, y: Field) -> tuple[Field, Field]:
    """Distance from the midline of the lungs' lateral and medial borders at height `y` (both ≥ 0, film units)."""
    reach = thorax.widest_y - thorax.apex_y
    rise = np.clip((thorax.widest_y - y) / reach, 0.0, 1.0)
    lateral = thorax.apex_x + (thorax.half_width - thorax.apex_x) * np.sqrt(1.0 - rise**2.3)
    near_apex = np.clip(1.0 - (y - thorax.apex_y) / 0.34, 0.0, 1.0)
    medial = thorax.apex_x - (thorax.apex_x - 0.075) * np.sqrt(1.0 - near_apex**2)
    return lateral, medial


def heart_sides(heart: Mediastinum, y: Field) -> tuple[Field, Field]:
    """Right and left border of heart and great vessels at height `y`, both as signed x in film units.

    Smooth curves through the landmarks a radiologist names: on the left aortic knob, pulmonary trunk (waist), left
    ventricle and apex; on the right great veins and right atrium.
    """
    upper, apex = heart.upper_half_width, heart.apex_y
    left_y = (-1.0, -0.62, -0.40, -0.29, -0.19, -0.09, 0.06, apex - 0.12, apex, apex + 0.16, apex + 0.5)
    knob, waist, left = heart.aortic_knob, heart.waist, heart.heart_left
    left_x = (upper, upper, upper, knob, waist - 0.015, waist + 0.03, 0.55 * waist + 0.45 * left, 0.92 * left, left)
    right_y = (-1.0, -0.62, -0.30, -0.08, 0.06, 0.22, 0.38, 0.55, 1.0)
    upper_right, right = -upper - 0.01, -heart.heart_right
    right_x = (
        upper_right,
        upper_right,
        upper_right + 0.01,
        -0.13,
        0.82 * right,
        right,
        0.93 * right,
        0.72 * right,
        -0.1,
    )
    left_line = PchipInterpolator(left_y, (*left_x, 0.86 * left, 0.2))
    return PchipInterpolator(right_y, right_x)(np.clip(y, -1, 1)), left_line(np.clip(y, -1, apex + 0.5))


def _grow_vessels(thorax: Thorax, mediastinum: Mediastinum, rng: np.random.Generator) -> Vessels:
    grown = []
    for side in (-1, 1):
        # The left hilum lies higher than the right.
        root_x, root_y = side * 0.17, mediastinum.carina_y + (0.18 if side < 0 else 0.13)
        fan = np.linspace(-1.30, 1.45, 10) + rng.normal(0, 0.09, 10)
        start = np.stack([np.full(10, root_x), root_y + 0.12 * np.sin(fan)], axis=1)
        length = rng.uniform(0.42, 0.58, 10) * (0.85 + 0.25 * np.abs(np.sin(fan)))
        grown += _branch(start, fan, length, rng.uniform(0.011, 0.017, 10), side, rng)
    points, widths, spacings = (np.concatenate(parts) for parts in zip(*grown, strict=True))
    lateral, _ = lung_sides(thorax, points[:, 1])
    margin = lateral - np.abs(points[:, 0])
    inside = (margin > 0.02) & (points[:, 1] > thorax.apex_y + 0.03)
    fade = np.clip(margin / 0.18, 0.2, 1.0)
    chosen = (points[inside], (widths * fade)[inside], spacings[inside])
    return Vessels(*(part.astype(np.float32) for part in chosen))


def _branch(
    start: Any, angle: Any, length: Any, radius: Any, side: int, rng: np.random.Generator
) -> list[tuple[Any, Any, Any]]:
    """Three generations of curved branches; each branch bears children along its outer two thirds."""
    grown = []
    steps = np.linspace(0.0, 1.0, 28)
    for children in (4, 3, 0):
        bend = rng.normal(0.0, 0.35, len(angle))[:, None] * steps
        wobble = np.cumsum(rng.normal(0.0, 0.07, (len(angle), len(steps))), axis=1)
        heading = angle[:, None] + bend + wobble
        stride = (length / len(steps))[:, None]
        x = start[:, :1] + side * np.cumsum(np.cos(heading) * stride, axis=1)
        y = start[:, 1:] + np.cumsum(np.sin(heading) * stride, axis=1)
        width = radius[:, None] * (1.0 - 0.72 * steps)
        spacing = np.broadcast_to(stride, x.shape)
        grown.append((np.stack([x.ravel(), y.ravel()], axis=1), width.ravel(), spacing.ravel()))
        if children == 0:
            break
        parent = np.repeat(np.arange(len(angle)), children)
        place = rng.integers(5, 24, len(parent))
        turn = rng.uniform(0.35, 0.95, len(parent)) * rng.choice([-1.0, 1.0], len(parent))
        start = np.stack([x[parent, place], y[parent, place]], axis=1)
        angle = heading[parent, place] + turn
        length = length[parent] * rng.uniform(0.35, 0.62, len(parent))
        radius = width[parent, place] * rng.uniform(0.55, 0.85, len(parent))
    return grown
