"""The validation that warns: treatments do what their names say, and a model that reads the format is found out."""

from __future__ import annotations

import numpy as np
import pytest

from cxray.runtime.stress import TREATMENTS, UNCHANGED, Stressed, enlarged, stress, warnings

RNG = np.random.default_rng(4)


def heart(height: int, width: int, side: int = 96) -> np.ndarray:
    film = np.zeros((side, side), dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    film[top : top + height, left : left + width] = 200
    return film


def extent(film: np.ndarray) -> tuple[int, int]:
    bright = film > 100
    return int(bright.any(axis=1).sum()), int(bright.any(axis=0).sum())


def test_enlarging_changes_the_sides_that_it_names() -> None:
    assert extent(enlarged(heart(30, 30), 4 / 3, 1.0)) == (30, 40)
    assert extent(TREATMENTS["a third taller"](heart(30, 30))) == (40, 30)
    assert extent(TREATMENTS["a third larger"](heart(30, 30))) == (40, 40)


def test_the_frame_stays_and_what_leaves_it_is_cut_off() -> None:
    film = np.full((64, 48), 77, dtype=np.uint8)
    assert enlarged(film, 2.0, 2.0).shape == (64, 48)
    assert enlarged(film, 0.5, 1.0)[:, :10].max() == 0


def test_exposure_keeps_black_and_white_and_moves_the_middle() -> None:
    film = np.array([[0, 128, 255]], dtype=np.uint8)
    light, dark = TREATMENTS["lighter (gamma 0.6)"](film), TREATMENTS["darker (gamma 1.6)"](film)
    assert light[0, 0] == dark[0, 0] == 0
    assert light[0, 2] == dark[0, 2] == 255
    assert light[0, 1] > 128 > dark[0, 1]


def test_the_border_is_blackened_and_the_middle_kept() -> None:
    film = np.full((96, 96), 9, dtype=np.uint8)
    cut = TREATMENTS["border blackened"](film)
    assert cut[:6].max() == cut[:, -6:].max() == 0
    assert (cut[6:-6, 6:-6] == 9).all()


@pytest.fixture
def hospital() -> tuple[np.ndarray, np.ndarray]:
    """Healthy hearts are wide and ill ones tall, by the format of their films; the disease itself is a bright patch."""
    ill = np.arange(60) % 2 == 1
    films = np.stack([heart(32, 26) if sick else heart(26, 32) for sick in ill])
    for film in films[ill]:
        film[46:50, 46:50] = 255
    return films, ill


def test_a_model_that_reads_the_format_is_found_out(hospital: tuple[np.ndarray, np.ndarray]) -> None:
    films, ill = hospital

    def by_shape(batch: np.ndarray) -> np.ndarray:
        sides = np.array([extent(film) for film in batch], dtype=float)
        return sides[:, 0] / sides.sum(axis=1)

    rows = stress(by_shape, films, ill, 0.5)
    assert rows[0] == Stressed(UNCHANGED, 1.0, 1.0, 1.0, 60)
    taller = next(row for row in rows if row.treatment == "a third taller")
    assert taller.auroc == 1.0
    assert taller.specificity == 0.0
    said = warnings(rows)
    assert any(s.startswith("60 validation films made a third taller: specificity") for s in said)
    assert any("a third taller: specificity at the frozen threshold falls from 1.00 to 0.00" in s for s in said)
    assert any("made a third wider: sensitivity" in s for s in said)


def test_a_model_that_reads_the_disease_is_left_in_peace(hospital: tuple[np.ndarray, np.ndarray]) -> None:
    films, ill = hospital
    rows = stress(lambda batch: batch.reshape(len(batch), -1).max(axis=1) / 255, films, ill, 0.95)
    assert warnings(rows) == []


def test_a_fall_of_exactly_the_alarm_is_not_named() -> None:
    usual = Stressed(UNCHANGED, 1.0, 1.0, 0.75, 100)
    assert warnings([usual, Stressed("a third wider", 1.0, 1.0, 0.65, 100)]) == []
    assert len(warnings([usual, Stressed("a third wider", 1.0, 1.0, 0.64, 100)])) == 1


def test_nothing_measured_says_nothing() -> None:
    assert warnings([]) == []
