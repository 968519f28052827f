"""What would the model say had the film been taken or stored differently? The patient stays, the picture changes.

Each change alters something that says nothing about the lungs: shutters, side markers, exposure, position, sharpness.
A score that moves much, or a decision that flips, is not about the patient alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from cxray.explain.cover import smooth_cover
from cxray.explain.lungs import lung_field
from cxray.explain.opened import OpenedModel
from cxray.explain.regions import frame

Film = npt.NDArray[np.uint8]
Change = Callable[[Film], npt.NDArray[np.float32]]
_SHUTTER_SHARE, _MARKER_SHARE, _MARKER_HEIGHT_SHARE = 0.05, 0.06, 0.08


@dataclasses.dataclass(frozen=True)
class Effect:
    """One change: name, group, the score it leads to, the change in log-odds, and whether the class is called anew."""

    name: str
    group: str
    score: float
    log_odds_change: float
    flips: bool


def acquisition_effects(model: OpenedModel, film: Film, class_index: int) -> list[Effect]:
    """The effects of all changes on one prepared film, largest change of log-odds first."""
    pictures = np.stack([film.astype(np.float32), *(change(film) for _, _, change in CHANGES)])
    logits = model.logits(pictures)
    scores = model.probabilities(logits)[:, class_index]
    odds = model.odds_of(logits, class_index)
    called = scores >= model.threshold(class_index)
    effects = [
        Effect(name, group, float(scores[k]), float(odds[k] - odds[0]), bool(called[k] != called[0]))
        for k, (name, group, _) in enumerate(CHANGES, start=1)
    ]
    return sorted(effects, key=lambda effect: -abs(effect.log_odds_change))


def _shutters(grey: float) -> Change:
    def change(film: Film) -> npt.NDArray[np.float32]:
        changed = film.astype(np.float32)
        rows, columns = (max(1, round(_SHUTTER_SHARE * side)) for side in film.shape)
        changed[:rows], changed[-rows:] = grey, grey
        changed[:, :columns], changed[:, -columns:] = grey, grey
        return changed

    return change


def _frame_smoothed(film: Film) -> npt.NDArray[np.float32]:
    return smooth_cover(film, frame(film.shape) & ~lung_field(film))


def _marker(letter: str) -> Change:
    def change(film: Film) -> npt.NDArray[np.float32]:
        picture = Image.fromarray(film)
        margin, size = _MARKER_SHARE * min(film.shape), max(6.0, _MARKER_HEIGHT_SHARE * min(film.shape))
        # Each letter lies on its own side of the patient: "R" on the left of the film.
        across, anchor = (margin, "lt") if letter == "R" else (film.shape[1] - margin, "rt")
        font = ImageFont.load_default(size)
        ImageDraw.Draw(picture).text((across, margin), letter, fill=245, font=font, anchor=anchor)
        return np.asarray(picture, dtype=np.float32)

    return change


def _gamma(power: float) -> Change:
    return lambda film: np.asarray(255 * (film / 255.0) ** power, dtype=np.float32)


def _contrast(factor: float) -> Change:
    return lambda film: np.asarray(np.clip((film - film.mean()) * factor + film.mean(), 0, 255), dtype=np.float32)


def _blurred(film: Film) -> npt.NDArray[np.float32]:
    return np.asarray(ndimage.gaussian_filter(film.astype(np.float32), 0.006 * min(film.shape)))


def _noisy(film: Film) -> npt.NDArray[np.float32]:
    noise = np.random.default_rng(0).normal(0, 8, film.shape)
    return np.asarray(np.clip(film + noise, 0, 255), dtype=np.float32)


def _turned(degrees: float) -> Change:
    return lambda film: np.asarray(
        ndimage.rotate(film.astype(np.float32), degrees, reshape=False, order=1, mode="nearest"), dtype=np.float32
    )


def _zoomed(film: Film) -> npt.NDArray[np.float32]:
    height, width = film.shape
    top, left = round(0.05 * height), round(0.05 * width)
    cut = Image.fromarray(film[top : height - top, left : width - left].astype(np.float32))
    return np.asarray(cut.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)


# Name as a sentence, group, change.
CHANGES: tuple[tuple[str, str, Change], ...] = (
    ("black shutters at the edge", "borders", _shutters(0.0)),
    ("white shutters at the edge", "borders", _shutters(255.0)),
    ("frame of the film smoothed away", "borders", _frame_smoothed),
    ("edges cropped by 5 %", "borders", _zoomed),
    ("side marker R added", "markers", _marker("R")),
    ("side marker L added", "markers", _marker("L")),
    ("shown lighter (gamma 0.8)", "exposure", _gamma(0.8)),
    ("shown darker (gamma 1.25)", "exposure", _gamma(1.25)),
    ("less contrast (80 %)", "exposure", _contrast(0.8)),
    ("more contrast (120 %)", "exposure", _contrast(1.2)),
    ("less sharp", "exposure", _blurred),
    ("lower dose (noise)", "exposure", _noisy),
    ("turned 4° left", "position", _turned(4.0)),
    ("turned 4° right", "position", _turned(-4.0)),
)
