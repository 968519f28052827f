"""From a positioned patient to what the beam passes: soft tissue, air in the lungs and bone, pixel by pixel.

Each function maps film coordinates to a thickness (units of one chest depth, float32 (height, width)). Air replaces
soft tissue, bone adds to it; so ribs show through lung and heart, and an organ's border shows where it displaces air,
which is how a real film gets its silhouettes.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.data.phantom_anatomy import Mediastinum, Patient, Skeleton, Thorax, heart_sides, lung_sides
from cxray.data.phantom_shapes import Field, bone_tube, dome, line_mass, soft_step, splat

LUNG_DEPTH = 0.62
"""Air in the deepest part of a lung, in chest depths."""


_LINE = np.linspace(-1.6, 1.6, 2048, dtype=np.float32)
"""Where functions of x or of y alone are tabulated once a film, instead of being computed for every pixel."""


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """Where every pixel lies in the patient: `x`, `y` float32 (height, width), film units.

    `turn` is how far structures in front are shifted to the left of the film against those at the back because the
    patient stands rotated; `dome_shift` lowers the diaphragm (deep breath) in film units; `pixel` is a pixel's size.
    """

    x: Field
    y: Field
    turn: float
    dome_shift: float
    pixel: float

    def at_height(self, *tables: npt.NDArray[np.floating[Any]]) -> list[Field]:
        """Functions of y tabulated over `_LINE`, spread to every pixel by its y."""
        return [table.astype(np.float32).take(self._rows, mode="clip") for table in tables]

    def at_width(self, *tables: npt.NDArray[np.floating[Any]], shift: float = 0.0) -> list[Field]:
        """Functions of x tabulated over `_LINE`, spread to every pixel by its x - `shift`."""
        nearest = _nearest(self.x - shift)
        return [table.astype(np.float32).take(nearest, mode="clip") for table in tables]

    @functools.cached_property
    def _rows(self) -> npt.NDArray[np.intp]:
        return _nearest(self.y)


def _nearest(coordinate: Field) -> npt.NDArray[np.intp]:
    """Positions in `_LINE`; beyond its ends they are clipped when used."""
    return ((coordinate + np.float32(1.6)) * np.float32(2047 / 3.2)).astype(np.intp)


@dataclasses.dataclass(frozen=True, slots=True)
class Tissue:
    """Thickness of `soft` tissue as if the lungs were solid, `air` that replaces it, and `bone`; `lung` is the air
    before vessels and texture, which says where the lung field is."""

    soft: Field
    air: Field
    bone: Field
    lung: Field


def render_tissue(patient: Patient, view: View) -> Tissue:
    """Everything of the healthy patient, without lung texture and vessels."""
    thorax = patient.thorax
    soft = _trunk(thorax, view) + _breasts(thorax, view)
    lung = render_lung(patient, view)
    other_air = _airways(patient.mediastinum, view) + _stomach_bubble(thorax, view)
    bone = _ribs(patient, view) + _spine(patient.skeleton, view) + _clavicles(patient.skeleton, view)
    bone += _shoulder(thorax, patient.skeleton, view)
    return Tissue(soft=soft, air=lung + other_air, bone=bone, lung=lung)


def render_lung(patient: Patient, view: View) -> Field:
    """Air in the lungs, beside and behind the heart and above the diaphragm."""
    lungs = _lungs(patient.thorax, view)
    # Some lung lies behind the heart and keeps it from being perfectly white.
    seen: Field = np.maximum(lungs - _heart_and_vessels(patient.mediastinum, view), 0.12 * lungs)
    seen *= _above_diaphragm(patient.thorax, view)
    return seen


def _trunk(thorax: Thorax, view: View) -> Field:
    """Trunk, neck, shoulders and arms."""
    y = _LINE
    trunk_half = thorax.half_width + thorax.wall + 0.05 * soft_step(y - 0.5, 0.8)
    neck = thorax.neck_half_width
    half = neck + (1.20 - neck) * soft_step(y - thorax.shoulder_y, 0.46)
    half += (trunk_half - 1.20) * soft_step(y - thorax.shoulder_y - 0.68, 0.95)
    depth = thorax.depth * (0.60 + 0.40 * soft_step(y + 0.55, 0.9)) * (1.0 + 0.16 * soft_step(y - 0.62, 0.7))
    axis = 1.0 + 0.25 * thorax.arm_lift + 0.16 * (y + 0.5)
    half, depth, axis, arm_depth = view.at_height(half, depth, axis, 0.34 * soft_step(y + 0.35, 0.5))
    across = np.abs(view.x)
    trunk = depth * np.sqrt(dome((across / half) ** 2))
    arm = arm_depth * dome(((across - axis) * np.float32(1 / 0.15)) ** 2)
    body: Field = np.maximum(trunk, arm)
    return body


def _breasts(thorax: Thorax, view: View) -> Field:
    if thorax.breast <= 0:
        return np.zeros_like(view.x)
    across = (np.abs(view.x) - 0.44) / 0.36
    down = view.y - 0.22
    down = np.maximum(down / 0.29, down / -0.60)
    round_shape = dome(across**2 + down**2)
    return thorax.breast * 0.9 * round_shape * np.sqrt(round_shape)


def _lungs(thorax: Thorax, view: View) -> Field:
    """Air in the two lungs as if there were no heart and no diaphragm."""
    y = _LINE
    lateral, medial = lung_sides(thorax, y)
    depth = LUNG_DEPTH * thorax.depth * (0.62 + 0.38 * soft_step(y + 0.45, 0.6))
    depth *= soft_step(y - thorax.apex_y - 0.11, 0.30) ** 0.5
    lateral, scale, depth = view.at_height(lateral, 1.0 / (lateral - medial + 1e-3), depth)
    share = (lateral - np.abs(view.x)) * scale
    inside = np.clip(share * (1.0 - share) * 4.0, 0.0, 1.0)
    # inside^(3/8) rises steeply at the border and is flat within.
    root = np.sqrt(inside)
    air: Field = depth * np.sqrt(root * np.sqrt(root))
    return air


def _above_diaphragm(thorax: Thorax, view: View) -> Field:
    """1 above the diaphragm; below its domes the lung behind the liver fades out slowly.

    Each half of the diaphragm is a dome, the left one lower, with a deep angle at the side of the chest.
    """
    across = np.abs(_LINE)
    top = thorax.dome_y + view.dome_shift + thorax.left_dome_drop * soft_step(_LINE, 0.1)
    lateral = np.clip((across - 0.30) / (thorax.half_width - 0.30), 0.0, 1.3)
    medial = np.maximum(0.30 - across, 0.0) / 0.30
    (line,) = view.at_width(top + thorax.dome_height * lateral**2 + 0.07 * medial**2)
    below = view.y - line
    return 1.0 - 0.84 * soft_step(below, 0.016 + view.pixel) - 0.16 * soft_step(below - 0.13, 0.22)


def _heart_and_vessels(heart: Mediastinum, view: View) -> Field:
    """Depth of heart and great vessels; where it exceeds the lung's, there is no air."""
    y = _LINE - 0.5 * view.dome_shift
    right, left = heart_sides(heart, y)
    middle, scale = view.at_height(0.5 * (left + right) + view.turn, 2.0 / (left - right))
    depth = dome(((view.x - middle) * scale) ** 2)
    displaced: Field = 0.95 * np.sqrt(depth * np.sqrt(depth))
    return displaced


def _airways(heart: Mediastinum, view: View) -> Field:
    y = _LINE
    below = y - heart.carina_y
    in_trachea, in_bronchus = soft_step(-below, 0.06) * soft_step(y + 1.2, 0.3), soft_step(below - 0.01, 0.04)
    in_bronchus *= soft_step(0.17 - below, 0.12)
    trachea, bronchus, down = view.at_height(0.15 * in_trachea, 0.075 * in_bronchus, below)
    x = view.x - (0.6 * view.turn + heart.trachea_shift)
    across = np.square(x * np.float32(1 / 0.034))
    # The right main bronchus runs more steeply than the left.
    apart = np.abs(x) - down * (0.80 + 0.30 * (x > 0).astype(np.float32))
    trachea *= np.exp(-across * across)
    trachea += bronchus * np.exp(-np.square(apart * np.float32(1 / 0.026)))
    return trachea


def _stomach_bubble(thorax: Thorax, view: View) -> Field:
    size = thorax.stomach_bubble
    if size <= 0:
        return np.zeros_like(view.x)
    top = thorax.dome_y + view.dome_shift + thorax.left_dome_drop + 0.045
    across, down = (view.x - 0.33) / (size + 0.09), (view.y - top) / (size + 0.04)
    # Gas rises: a rounded top under the diaphragm, and a lower border that the contents of the stomach blur.
    bubble = dome(across**2 + np.square(np.minimum(down - 1.0, 0.0)))
    level = 1.15 + 0.25 * np.sin(2.5 * across + 50.0 * size)
    return 0.17 * bubble * soft_step(level - down, 0.8)


def _ribs(patient: Patient, view: View) -> Field:
    """Ribs as loops around the chest: half a turn each, falling from the spine at the back to the front."""
    across = np.abs(view.x)
    lateral, _ = lung_sides(patient.thorax, _LINE)
    cage, scale = view.at_height(lateral + 0.025, 1.0 / (lateral + 0.025))
    sine = np.minimum(across * scale, 1.0)
    cosine = np.sqrt(1.0 - sine * sine)
    side = view.x > 0
    posterior = _rib_layer(patient, view, (sine, cosine), side) * soft_step(across - 0.07, 0.06)
    anterior = _rib_layer(patient, view, (sine, -cosine), side) * soft_step(sine - 0.66, 0.22)
    inside = soft_step(cage - across + 0.01, 0.02)
    wall = np.exp(-(((cage - across - 0.012) * np.float32(1 / 0.014)) ** 2))
    density = 0.165 * patient.skeleton.rib_density * (1.0 - 0.5 * soft_step(view.y - 0.55, 0.3))
    return inside * (density * (posterior + 0.5 * anterior) + 0.03 * wall)


def _rib_layer(patient: Patient, view: View, turn: tuple[Field, Field], side: npt.NDArray[np.bool_]) -> Field:
    """One half of all ribs; `turn` is sine and cosine of the angle around the chest, 0 at the spine."""
    bones = patient.skeleton
    sine, cosine = turn
    drop = bones.rib_drop * 0.5 * (1.0 - cosine) - bones.rib_rise * 2.0 * sine * cosine
    level = (view.y - drop - bones.rib_first_y) * (1.0 / bones.rib_spacing)
    number = np.clip(np.rint(level), 0, int(bones.rib_count))
    shift = patient.rib_offsets.ravel()[number.astype(np.int32) + 16 * side]
    offset = (level - number) * bones.rib_spacing - shift
    steepness = np.abs(cosine)
    # The band is as wide across the rib everywhere, so it is taller where the rib runs steeply.
    slope = bones.rib_drop * 0.5 * sine / (0.62 * steepness + 0.12)
    ratio = offset / (bones.rib_half_width * np.sqrt(1.0 + slope * slope))
    # Toward the side of the chest the beam runs along the rib instead of across it.
    return bone_tube(ratio) * (0.75 / (steepness + 0.42))


def _spine(bones: Skeleton, view: View) -> Field:
    """Vertebral bodies with dim discs between them, a pair of pedicles and a spinous process on each."""
    level = (_LINE - bones.rib_first_y) / bones.rib_spacing
    within = level - np.rint(level)
    height = 1.0 - 0.30 * np.exp(-(((np.abs(within) - 0.5) / 0.11) ** 2))
    bend = bones.spine_bend * np.sin(2.2 * _LINE) - 0.3 * view.turn
    height, pedicle, process, bend = view.at_height(height, (within / 0.20) ** 2, ((within - 0.15) / 0.24) ** 2, bend)
    across = np.abs((view.x - bend) * (1.0 / bones.spine_half_width))
    beside = (across - 0.62) * np.float32(1 / 0.22)
    bone = 0.095 * dome(across * across) * height
    bone += 0.04 * dome(beside * beside + pedicle)
    return bone + 0.03 * dome(across * across * np.float32(1 / 0.17**2) + process)


def _clavicles(bones: Skeleton, view: View) -> Field:
    along = (np.abs(_LINE) - 0.085) / 0.66
    within = np.clip(along, 0.0, 1.0)
    line = bones.clavicle_y - bones.clavicle_rise * along - 0.035 * np.sin(2 * np.pi * within)
    ends = 0.20 * soft_step(along - 0.02, 0.06) * soft_step(1.02 - along, 0.08)
    scale = 1.0 / (0.036 - 0.012 * np.sin(np.pi * within))
    line, scale, ends = view.at_width(line, scale, ends, shift=1.1 * view.turn)
    return bone_tube((view.y - line) * scale) * ends


def _shoulder(thorax: Thorax, bones: Skeleton, view: View) -> Field:
    """Shoulder blade (a thin plate with a thicker inner edge), head of the humerus and its shaft."""
    across, y = np.abs(view.x), _LINE
    top, bottom = thorax.shoulder_y + 0.14, thorax.shoulder_y + 0.78
    inner = bones.scapula_x + 0.10 * (y - top) + 0.05 * ((y - top) / 0.6) ** 2
    outer = 0.93 - 0.22 * np.clip((y - top) / (bottom - top), 0.0, 1.2)
    height = soft_step(y - top, 0.10) * soft_step(bottom - y, 0.12)
    axis = 0.97 + 0.25 * thorax.arm_lift + 0.16 * (y + 0.5)
    head = ((y - thorax.shoulder_y - 0.16) / 0.12) ** 2
    shaft = 0.26 * soft_step(y - thorax.shoulder_y - 0.2, 0.1)
    inner, outer, height, axis, head, shaft = view.at_height(inner, outer, height, axis, head, shaft)
    into = across - inner
    ridge = into * np.float32(1 / 0.011)
    blade: Field = 0.035 * soft_step(into, 0.02) * soft_step(outer - across, 0.03) + 0.045 * np.exp(-ridge * ridge)
    beside = across - axis
    ball = (beside + 0.03) * np.float32(1 / 0.10)
    blade *= height
    return blade + shaft * bone_tube(beside * np.float32(1 / 0.055)) + 0.16 * dome(ball * ball + head)


def lung_field(tissue: Tissue, thorax: Thorax) -> npt.NDArray[np.bool_]:
    """Where (side, side) the lung is seen as lung: not behind the heart, and above the diaphragm."""
    return tissue.lung > 0.30 * LUNG_DEPTH * thorax.depth


def render_vessels(patient: Patient, points: Field, *, size_px: int, zoom: float) -> Field:
    """Thickness of blood vessels on the film; `points` are the patient's vessel points in film coordinates."""
    vessels = patient.vessels
    total = np.zeros((size_px, size_px), np.float32)
    for low, high in ((0.0, 0.0045), (0.0045, 0.0085), (0.0085, 1.0)):
        chosen = (vessels.radius >= low) & (vessels.radius < high)
        radius = vessels.radius[chosen]
        sigma = max(0.75 * float(radius.mean()) if radius.size else 0.0, 0.3 / size_px) * zoom
        mass = line_mass(7.0 * radius, spacing=vessels.spacing[chosen] * zoom, size_px=size_px, sigma=sigma)
        total += splat(points[chosen], mass, size_px=size_px, sigma=sigma)
    return total
