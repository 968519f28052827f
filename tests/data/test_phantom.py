"""The phantom keeps its promises: determinism, truth that fits the pixels, shortcuts of the wanted strength."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from cxray.data.decode import decode_file
from cxray.data.identity import GRAMMARS
from cxray.data.phantom import (
    DISEASED,
    NORMAL,
    PhantomFilm,
    PhantomPlan,
    draw_film,
    golden_film,
    has_disease,
    phantom_patients,
    write_phantom_folder,
)
from cxray.errors import ConfigError, UsageError

SMALL = PhantomPlan(size_px=64)


def films_of(plan: PhantomPlan, n_patients: int, seed: int = 5) -> list[PhantomFilm]:
    return [film for films in phantom_patients(plan, n_patients, seed=seed) for film in films]


@pytest.fixture(scope="module")
def many() -> list[PhantomFilm]:
    return films_of(dataclasses.replace(SMALL, films_per_patient=1), 320)


def is_diseased(films: list[PhantomFilm]) -> np.ndarray:
    return np.array([film.label == DISEASED for film in films])


# --- one film ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size_px", [32, 97, 256])
def test_pixels_and_truth_have_the_promised_shape_type_and_range(size_px: int) -> None:
    film = draw_film(PhantomPlan(size_px=size_px), 3, film_index=1, seed=2, is_diseased=True)
    assert film.pixels.shape == film.mask.shape == film.lung_field.shape == (size_px, size_px)
    assert film.pixels.dtype == np.float32
    assert film.mask.dtype == film.lung_field.dtype == np.bool_
    assert film.pixels.min() >= 0
    assert film.pixels.max() <= 1
    assert film.pixels.max() - film.pixels.min() > 0.7
    assert film.name == "phantom-p0003-f1"
    assert film.as_bytes().dtype == np.uint8


def test_the_same_seed_gives_the_same_film_and_another_seed_another() -> None:
    first, again = (draw_film(SMALL, 4, film_index=0, seed=8, is_diseased=True) for _ in range(2))
    other = draw_film(SMALL, 4, film_index=0, seed=9, is_diseased=True)
    np.testing.assert_array_equal(first.pixels, again.pixels)
    np.testing.assert_array_equal(first.mask, again.mask)
    assert np.abs(first.pixels - other.pixels).mean() > 0.01


def test_a_film_does_not_depend_on_what_was_drawn_before_or_how_many_are_asked_for() -> None:
    few, more = films_of(SMALL, 3), films_of(dataclasses.replace(SMALL, films_per_patient=3), 7)
    by_name = {film.name: film for film in more}
    for film in few:
        np.testing.assert_array_equal(film.pixels, by_name[film.name].pixels)
    alone = draw_film(SMALL, 2, film_index=1, seed=5, is_diseased=few[-1].label == DISEASED)
    np.testing.assert_array_equal(alone.pixels, few[-1].pixels)


def test_lungs_are_darker_than_heart_and_abdomen_and_the_heart_lies_to_the_left(many: list[PhantomFilm]) -> None:
    for film in many[:40]:
        assert film.pixels[film.lung_field].mean() < film.pixels[58:62, 28:36].mean() - 0.1
        right_lung, left_lung = film.lung_field[:, :32].sum(), film.lung_field[:, 32:].sum()
        assert 0.08 < film.lung_field.mean() < 0.5
        assert right_lung > 0.8 * left_lung
    smaller_left = np.mean([film.lung_field[:, 32:].sum() < film.lung_field[:, :32].sum() for film in many])
    assert smaller_left > 0.8


def test_a_larger_film_shows_the_same_patient() -> None:
    small = draw_film(PhantomPlan(size_px=64), 6, film_index=0, seed=1, is_diseased=True)
    large = draw_film(PhantomPlan(size_px=256), 6, film_index=0, seed=1, is_diseased=True)
    shrunk = large.pixels.reshape(64, 4, 64, 4).mean(axis=(1, 3))
    assert np.corrcoef(small.pixels.ravel(), shrunk.ravel())[0, 1] > 0.98
    assert small.severity == large.severity
    assert abs(small.mask.mean() - large.mask.mean()) < 0.02


# --- disease ----------------------------------------------------------------------------------------------------


def test_the_mask_lies_inside_the_lung_field_and_only_on_diseased_films(many: list[PhantomFilm]) -> None:
    for film in many:
        assert not (film.mask & ~film.lung_field).any()
        assert film.mask.any() == (film.label == DISEASED) == (film.severity > 0)
    assert {film.parameters["pattern"] for film in many} == {"", "lobar", "patchy", "interstitial"}


def test_with_and_without_disease_a_film_differs_inside_the_mask() -> None:
    inside, outside = [], []
    for patient in range(24):
        ill, well = (draw_film(SMALL, patient, film_index=0, seed=3, is_diseased=flag) for flag in (True, False))
        assert (ill.label, well.label) == (DISEASED, NORMAL)
        change = ill.pixels - well.pixels
        far = ~ndimage.binary_dilation(ill.mask, iterations=8)
        inside.append(change[ill.mask].mean())
        outside.append(np.abs(change[far]).mean())
    assert np.mean(inside) > 0.05
    assert np.mean(inside) > 4 * np.mean(outside)


@pytest.mark.parametrize("pattern", ["lobar", "patchy"])
def test_consolidation_is_denser_than_the_rest_of_the_lung_and_more_so_when_severe(
    many: list[PhantomFilm], pattern: str
) -> None:
    ill = [film for film in many if film.parameters["pattern"] == pattern]
    contrast = [film.pixels[film.mask].mean() - film.pixels[film.lung_field & ~film.mask].mean() for film in ill]
    assert min(contrast) > 0
    assert np.corrcoef(contrast, [film.severity for film in ill])[0, 1] > 0.4


def test_mean_grey_alone_does_not_separate_the_classes(many: list[PhantomFilm]) -> None:
    truth = is_diseased(many)
    assert truth.mean() == 0.5
    assert 0.4 <= roc_auc_score(truth, [film.pixels.mean() for film in many]) <= 0.65


def test_difficulty_lowers_severity() -> None:
    def severities(difficulty: float) -> list[float]:
        plan = PhantomPlan(size_px=32, difficulty=difficulty, films_per_patient=1)
        return [film.severity for film in films_of(plan, 60) if film.label == DISEASED]

    easy, hard = severities(0.0), severities(1.0)
    assert min(easy) > 0.6
    assert np.mean(hard) < 0.6 * np.mean(easy)


# --- patients ---------------------------------------------------------------------------------------------------


def test_films_of_one_patient_are_more_alike_than_films_of_two() -> None:
    films = films_of(dataclasses.replace(SMALL, films_per_patient=2), 24)
    # Fine structure after alignment would be stronger still; even raw pixels inside the middle of the film suffice.
    flat = np.stack([film.pixels[6:58, 6:58].ravel() for film in films])
    alike = np.corrcoef(flat)
    patients = np.array([film.patient for film in films])
    same = patients[:, None] == patients
    np.fill_diagonal(alike, np.nan)
    assert np.nanmean(alike[same]) > np.nanmean(alike[~same]) + 0.02
    assert len({film.severity for film in films if film.label == DISEASED}) == 12


@pytest.mark.parametrize(("prevalence", "expected"), [(0.0, 0), (0.25, 50), (0.5, 100), (0.73, 146), (1.0, 200)])
def test_prevalence_is_met_exactly_over_whole_decks(prevalence: float, expected: int) -> None:
    assert sum(has_disease(i, seed=1, prevalence=prevalence) for i in range(200)) == expected


def test_disease_cannot_be_read_from_the_patients_number() -> None:
    ill = np.array([has_disease(i, seed=0, prevalence=0.5) for i in range(400)])
    assert abs(ill[::2].mean() - 0.5) < 0.1
    assert abs(ill[:200].mean() - 0.5) < 0.01


# --- shortcuts --------------------------------------------------------------------------------------------------

TRAITS = {
    "marker": lambda film: film.parameters["marker"] != "",
    "border": lambda film: film.parameters["border_brightness"] > 0.3,
    "exposure": lambda film: film.parameters["gamma"] < 0.7,
    "noise": lambda film: film.parameters["quanta"] < 1000,
    "text": lambda film: film.parameters["text"] != "",
}


@pytest.mark.parametrize("shortcut", TRAITS)
def test_a_shortcut_of_strength_one_is_a_perfect_label(shortcut: str) -> None:
    films = films_of(PhantomPlan(size_px=32, shortcut=shortcut, shortcut_strength=1.0, films_per_patient=1), 40)
    np.testing.assert_array_equal([TRAITS[shortcut](film) for film in films], is_diseased(films))


def test_a_shortcut_follows_the_class_as_often_as_its_strength_says() -> None:
    films = films_of(PhantomPlan(size_px=32, shortcut="marker", shortcut_strength=0.6, films_per_patient=1), 300)
    agrees = np.mean([TRAITS["marker"](film) for film in films] == is_diseased(films))
    # Where the marker does not follow the class it is a coin toss: 0.6 + 0.4 / 2, ± 3 standard errors.
    assert abs(agrees - 0.8) < 3 * np.sqrt(0.8 * 0.2 / 300)
    follows = np.mean([film.parameters["shortcut_follows_class"] for film in films])
    assert abs(follows - 0.6) < 3 * np.sqrt(0.6 * 0.4 / 300)


def test_without_a_shortcut_no_furniture_follows_the_class(many: list[PhantomFilm]) -> None:
    ill = is_diseased(many)
    for name in ("marker", "text"):
        present = np.array([TRAITS[name](film) for film in many])
        assert abs(present[ill].mean() - present[~ill].mean()) < 3 * np.sqrt(0.5 / 160)
    assert 0.38 < np.mean([TRAITS["marker"](film) for film in many]) < 0.62


@pytest.mark.parametrize("shortcut", ["border", "marker", "text"])
def test_planting_furniture_changes_the_edge_and_not_the_lungs(shortcut: str) -> None:
    plan = PhantomPlan(size_px=128)
    planted = dataclasses.replace(plan, shortcut=shortcut, shortcut_strength=1.0)
    changed = 0
    for patient in range(6):
        plain, marked = (draw_film(p, patient, film_index=0, seed=4, is_diseased=True) for p in (plan, planted))
        change = np.abs(plain.pixels - marked.pixels)
        assert change[32:96, 32:96].mean() < 0.01
        changed += change.max() > 0.3
    assert changed >= 3


def test_the_markers_letter_is_seen_on_its_own_side() -> None:
    plan = PhantomPlan(size_px=128, shortcut="marker", shortcut_strength=1.0)
    for patient in range(8):
        ill, well = (draw_film(plan, patient, film_index=0, seed=4, is_diseased=flag) for flag in (True, False))
        assert well.parameters["marker"] == ""
        own = np.s_[6:17, 6:14] if ill.parameters["marker"] == "R" else np.s_[6:17, 114:122]
        other = np.s_[6:17, 114:122] if ill.parameters["marker"] == "R" else np.s_[6:17, 6:14]
        assert (ill.pixels[own] > 0.9).sum() > (well.pixels[own] > 0.9).sum() + 10
        assert (ill.pixels[other] > 0.9).sum() == (well.pixels[other] > 0.9).sum()


# --- folders ----------------------------------------------------------------------------------------------------


def test_a_folder_has_classes_truth_and_masks_apart(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    assert write_phantom_folder(folder, SMALL, 12, seed=3, test_fraction=0.3, has_masks=True) == folder
    with (folder / "truth.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    on_disk = {str(path.relative_to(folder)) for path in folder.rglob("*.png")}
    assert {row["path"] for row in rows} == on_disk
    assert len(rows) == 24
    assert {path.split("/")[0] for path in on_disk} == {"train", "test"}
    split_of: dict[str, set[str]] = {}
    for row in rows:
        assert row["path"] == f"{row['split']}/{row['label']}/{Path(row['path']).name}"
        assert row["path"].split("/")[2].startswith(row["patient"] + "-f")
        assert (float(row["severity"]) > 0) == (row["label"] == DISEASED)
        split_of.setdefault(row["patient"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in split_of.values())
    assert sum(splits == {"test"} for splits in split_of.values()) == 4
    ill = {Path(row["path"]).name for row in rows if row["label"] == DISEASED}
    assert {path.name for path in (tmp_path / "films-masks").glob("*.png")} == ill
    assert json.loads((folder / "manifest.json").read_text())["plan"] == dataclasses.asdict(SMALL)


def test_what_is_written_is_what_is_drawn(tmp_path: Path) -> None:
    write_phantom_folder(tmp_path / "films", SMALL, 4, seed=3, test_fraction=0, has_masks=True)
    assert not (tmp_path / "films" / "test").exists()
    for film in films_of(SMALL, 4, seed=3):
        path = tmp_path / "films" / "train" / film.label / f"{film.name}.png"
        np.testing.assert_array_equal(np.asarray(Image.open(path)), film.as_bytes())
        assert np.abs(decode_file(path).pixels - film.pixels).max() <= 0.5 / 255 + 1e-6
        if film.mask.any():
            mask = np.asarray(Image.open(tmp_path / "films-masks" / f"{film.name}.png"))
            np.testing.assert_array_equal(mask, film.mask * 255)


def test_the_identity_grammar_reads_the_patient_from_the_name() -> None:
    film = draw_film(SMALL, 12, film_index=2, seed=0, is_diseased=False)
    (grammar,) = (grammar for grammar in GRAMMARS if grammar.family == "phantom")
    match = grammar.patterns[0].search(f"train/NORMAL/{film.name}.png")
    assert match is not None
    assert match.group("id0") == film.patient == "phantom-p0012"


def test_a_folder_that_holds_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="already holds files"):
        write_phantom_folder(tmp_path / "films", SMALL, 8)
    assert [path.name for path in (tmp_path / "films").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(("n_patients", "prevalence"), [(1, 0.5), (4, 0.25), (3, 0.5)])
def test_too_few_patients_to_fill_both_splits_are_refused_before_anything_is_written(
    tmp_path: Path, n_patients: int, prevalence: float
) -> None:
    with pytest.raises(ConfigError, match="cannot fill train and test with both classes"):
        write_phantom_folder(tmp_path / "films", SMALL, n_patients, prevalence=prevalence)
    assert not (tmp_path / "films").exists()


# --- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size_px": 31}, "size_px must be between 32 and 2048; got 31"),
        ({"size_px": 2049}, "size_px must be between 32 and 2048; got 2049"),
        ({"difficulty": -0.01}, "difficulty must be between 0 and 1; got -0.01"),
        ({"difficulty": float("nan")}, "difficulty must be between 0 and 1; got nan"),
        ({"films_per_patient": 0}, "films_per_patient must be between 1 and 100; got 0"),
        ({"shortcut": "marker", "shortcut_strength": 1.01}, "shortcut_strength must be between 0 and 1; got 1.01"),
        ({"shortcut": "colour"}, "shortcut must be one of .*'marker'.*; got 'colour'"),
        ({"shortcut_strength": 0.5}, "shortcut_strength is 0.5, but no shortcut is named"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PhantomPlan(**settings)  # type: ignore[arg-type]


def test_numbers_outside_their_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="film_index must be between 0 and 99; got -1"):
        draw_film(SMALL, 0, film_index=-1, seed=0, is_diseased=False)
    with pytest.raises(ConfigError, match="n_patients must be between 1 and 9999; got 0"):
        next(phantom_patients(SMALL, 0, seed=0))
    with pytest.raises(ConfigError, match="prevalence must be between 0 and 1; got 1.5"):
        next(phantom_patients(SMALL, 4, seed=0, prevalence=1.5))
    with pytest.raises(ConfigError, match=r"test_fraction must be between 0 and 0\.9; got 1"):
        write_phantom_folder(tmp_path / "films", SMALL, 8, test_fraction=1.0)
    with pytest.raises(ConfigError, match="seed must be 0 or more; got -3"):
        write_phantom_folder(tmp_path / "films", SMALL, 8, seed=-3)


# --- the golden film --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size_px", [64, 224])
def test_the_golden_film_is_fixed_and_uses_the_range(size_px: int) -> None:
    film = golden_film(size_px)
    assert film.shape == (size_px, size_px)
    assert film.dtype == np.uint8
    np.testing.assert_array_equal(film, golden_film(size_px))
    assert film.max() - film.min() > 180
    assert 60 < film.mean() < 170
