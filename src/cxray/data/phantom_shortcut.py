"""Planted shortcuts: a mark of the film, not of the lungs, that follows the class.

Each film has its furniture and exposure drawn by chance. With a shortcut of strength p, one trait is set by the class
instead with probability p; strength 0 leaves it to chance, strength 1 makes it a perfect label.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from cxray.data.phantom_exposure import Exposure, Furniture

SHORTCUTS = ("", "marker", "border", "exposure", "noise", "text")
"""marker: a side marker only on diseased films. border: bright shutters on diseased films, black on normal ones.
exposure: diseased films shown lighter. noise: diseased films taken with a low dose. text: burned-in text only on
diseased films."""

_TEXTS = ("PA", "AP", "AP 4T", "PA EXT", "XR 17", "LAT 7")


def draw_furniture(
    shortcut: str, strength: float, rng: np.random.Generator, *, is_diseased: bool
) -> tuple[Furniture, bool]:
    """Marker, shutters and text of one film, and whether its shortcut follows the class.

    The same numbers are drawn whatever the shortcut, so films differ from their twins without it in one trait only.
    """
    follows = bool(rng.random() < strength)
    has_marker, side = rng.random() < 0.5, str(rng.choice(["R", "L"], p=(0.7, 0.3)))
    has_border, widths = rng.random() < 0.4, rng.integers(0, 36, 4)
    brightness = float(rng.uniform(0.0, 0.04))
    has_text, text = rng.random() < 0.15, str(rng.choice(_TEXTS))
    if follows:
        has_marker = is_diseased if shortcut == "marker" else has_marker
        has_text = is_diseased if shortcut == "text" else has_text
        if shortcut == "border":
            has_border, widths, brightness = True, widths + 12, 0.55 if is_diseased else 0.0
    left, right, top, bottom = (int(width) if has_border else 0 for width in widths)
    furniture = Furniture(
        marker=side if has_marker else "",
        border_left=left,
        border_right=right,
        border_top=top,
        border_bottom=bottom,
        border_brightness=brightness,
        text=text if has_text else "",
    )
    return furniture, follows


def plant_exposure(shortcut: str, exposure: Exposure, *, is_diseased: bool) -> Exposure:
    """The exposure with the trait that `shortcut` sets by class; unchanged for shortcuts of the furniture."""
    if shortcut == "exposure":
        return dataclasses.replace(exposure, gamma=0.68 if is_diseased else 1.35)
    if shortcut == "noise":
        return dataclasses.replace(exposure, quanta=900.0 if is_diseased else 40000.0)
    return exposure
