"""Synthetic chest radiographs with known truth: for the demo, for tests, and as the film that every bundle carries.

A film is drawn from (plan, seed, patient, film, diseased?) and nothing else: film 7 is the same however many are
asked for, and a patient drawn with and without disease differs in the disease alone. Every decision has its own
random stream (NumPy's SeedSequence with a spawn key), so planting a shortcut changes nothing but the shortcut.
The films are schematic: good for testing software and methods, worthless as evidence about real patients.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from cxray.data.phantom_anatomy import Patient, draw_parameters, draw_patient
from cxray.data.phantom_disease import Disease, Places, Strands, draw_disease, draw_lines, draw_scars
from cxray.data.phantom_exposure import (
    AIR_ATTENUATION,
    BONE_ATTENUATION,
    SOFT_ATTENUATION,
    Exposure,
    Furniture,
    Positioning,
    expose,
    furnish,
    make_view,
    sample_lattice,
    to_film,
)
from cxray.data.phantom_shapes import Field, line_mass, splat
from cxray.data.phantom_shortcut import SHORTCUTS, draw_furniture, plant_exposure
from cxray.data.phantom_tissue import Tissue, View, lung_field, render_tissue, render_vessels
from cxray.errors import ConfigError
from cxray.rundir import prepare_folder, write_bytes, write_manifest
from cxray.tables import Column, write_table

NORMAL, DISEASED = "NORMAL", "PNEUMONIA"
MAXIMUM_PATIENTS, MAXIMUM_FILMS = 9999, 100
_ANATOMY, _DISEASE, _SCARS, _DECK, _FILM, _FURNITURE, _SPLIT = range(7)  # names of the random streams
_DECK_SIZE = 4
_TEXTURE_SHARE = 0.035


@dataclasses.dataclass(frozen=True, slots=True)
class PhantomPlan:
    """Settings of a set of phantoms.

    `size_px` is the side of the square films, 32–2048. `difficulty` 0–1 shifts disease toward subtle and adds scars to
    everybody. `shortcut` is one of `phantom_shortcut.SHORTCUTS`, "" for none; `shortcut_strength` 0–1 is the
    probability that a film's shortcut follows its class instead of chance.

    Raises:
        ConfigError: a setting outside its range, an unknown shortcut, or a strength without a shortcut.
    """

    size_px: int = 256
    difficulty: float = 0.4
    films_per_patient: int = 2
    shortcut: str = ""
    shortcut_strength: float = 0.0

    def __post_init__(self) -> None:
        _check_range("size_px", self.size_px, 32, 2048)
        _check_range("difficulty", self.difficulty, 0, 1)
        _check_range("films_per_patient", self.films_per_patient, 1, MAXIMUM_FILMS)
        _check_range("shortcut_strength", self.shortcut_strength, 0, 1)
        if self.shortcut not in SHORTCUTS:
            raise ConfigError(
                f"shortcut must be one of {', '.join(map(repr, SHORTCUTS))}; got {self.shortcut!r}.",
                "Choose one of these, or leave it empty for films without a planted shortcut.",
            )
        if self.shortcut_strength and not self.shortcut:
            raise ConfigError(
                f"shortcut_strength is {self.shortcut_strength:g}, but no shortcut is named.",
                f"Name one of {', '.join(filter(None, SHORTCUTS))}, or set the strength to 0.",
            )


@dataclasses.dataclass(frozen=True, eq=False)
class PhantomFilm:
    """One synthetic film and the truth about it.

    `pixels` float32 (H, W), 0 = black to 1 = white, dense is white. `mask` bool (H, W): where disease is; empty for a
    normal film. `lung_field` bool (H, W): lung that is seen as lung, not behind heart or diaphragm; the mask lies in
    it. `severity` 0–1, 0 when normal. `parameters` holds what the film was made with, by name.
    """

    pixels: Field
    mask: npt.NDArray[np.bool_]
    lung_field: npt.NDArray[np.bool_]
    label: str
    patient: str
    film: int
    severity: float
    parameters: Mapping[str, float | str]

    @property
    def name(self) -> str:
        """File name without its ending: `phantom-p0012-f2`."""
        return f"{self.patient}-f{self.film}"

    def as_bytes(self) -> npt.NDArray[np.uint8]:
        """The pixels as 8-bit grey, (H, W)."""
        return np.rint(self.pixels * 255.0).astype(np.uint8)


def draw_film(plan: PhantomPlan, patient_index: int, *, film_index: int, seed: int, is_diseased: bool) -> PhantomFilm:
    """Draw film `film_index` of patient `patient_index` (both from 0).

    Raises:
        ConfigError: an index outside its range, or a negative seed.
    """
    _check_range("patient_index", patient_index, 0, MAXIMUM_PATIENTS - 1)
    _check_range("film_index", film_index, 0, MAXIMUM_FILMS - 1)
    patient, scars, disease = _case(seed, patient_index, plan.difficulty, is_diseased)
    rng = _stream(seed, patient_index, _FILM, film_index)
    position, exposure = draw_parameters(Positioning, rng), draw_parameters(Exposure, rng)
    furniture_rng = _stream(seed, patient_index, _FURNITURE, film_index)
    furniture, follows = draw_furniture(plan.shortcut, plan.shortcut_strength, furniture_rng, is_diseased=is_diseased)
    if follows:
        exposure = plant_exposure(plan.shortcut, exposure, is_diseased=is_diseased)
    view = make_view(position, plan.size_px)
    tissue = render_tissue(patient, view)
    field = lung_field(tissue, patient.thorax)
    air = _breathing_air(tissue, patient, disease, (view, position))
    bone = tissue.bone + _strands([*scars, *draw_lines(rng)], position, plan.size_px)
    attenuation = np.maximum(SOFT_ATTENUATION * tissue.soft - AIR_ATTENUATION * air + BONE_ATTENUATION * bone, 0.0)
    return PhantomFilm(
        pixels=furnish(expose(attenuation, exposure, rng), furniture),
        mask=_disease_mask(disease, field, (view, position)),
        lung_field=field,
        label=DISEASED if is_diseased else NORMAL,
        patient=f"phantom-p{patient_index:04d}",
        film=film_index,
        severity=disease.severity if disease else 0.0,
        parameters=_facts(disease, position, exposure, furniture, shortcut_follows_class=float(follows)),
    )


def phantom_patients(
    plan: PhantomPlan, n_patients: int, *, seed: int, prevalence: float = 0.5
) -> Iterator[tuple[PhantomFilm, ...]]:
    """All films of one patient after the other; all films of a patient share anatomy and disease.

    In every four patients in a row the share of diseased ones is as near to `prevalence` as whole patients allow, and
    over many it converges to it; so the first n patients are the same whatever `n_patients` is.

    Raises:
        ConfigError: no patients, a prevalence outside 0–1, or a negative seed.
    """
    _check_range("n_patients", n_patients, 1, MAXIMUM_PATIENTS)
    _check_range("prevalence", prevalence, 0, 1)
    for index in range(n_patients):
        yield _draw_patient_films(plan, index, seed=seed, prevalence=prevalence)


def has_disease(patient_index: int, *, seed: int, prevalence: float) -> bool:
    """Whether `phantom_patients` gives this patient disease: dealt from small shuffled decks, see there."""
    deck, place = divmod(patient_index, _DECK_SIZE)
    before, after = (round(prevalence * _DECK_SIZE * decks) for decks in (deck, deck + 1))
    order = _stream(seed, deck, _DECK).permutation(_DECK_SIZE)
    return bool(order[place] < after - before)


def write_phantom_folder(
    folder: Path,
    plan: PhantomPlan,
    n_patients: int,
    *,
    seed: int = 0,
    prevalence: float = 0.5,
    test_fraction: float = 0.25,
    has_masks: bool = False,
) -> Path:
    """Write phantoms as 8-bit PNG into `train/` and `test/` × `NORMAL/` and `PNEUMONIA/`, and the truth beside them.

    Patients, not films, are divided, within each class; `test_fraction` 0 leaves out `test/`. `truth.csv` has the
    columns path (relative to the folder), patient, split, label, severity. With `has_masks`, the diseased films'
    masks (0 or 255) go into the sibling folder `<folder>-masks`, outside the class tree. `manifest.json` comes last.

    Returns:
        `folder`.

    Raises:
        ConfigError: a number outside its range, or so few patients that a class or a split would stay empty.
        UsageError: `folder`, or the folder for masks, already holds files.
        OutputError: it cannot be written.
    """
    _check_range("test_fraction", test_fraction, 0, 0.9)
    _check_range("n_patients", n_patients, 1, MAXIMUM_PATIENTS)
    _check_range("prevalence", prevalence, 0, 1)
    test_patients = _test_patients(n_patients, seed=seed, prevalence=prevalence, test_fraction=test_fraction)
    masks = folder.with_name(f"{folder.name}-masks")
    for target in (folder, masks) if has_masks else (folder,):
        prepare_folder(target)

    def draw_and_write(index: int) -> list[tuple[str, PhantomFilm]]:
        written = []
        for film in _draw_patient_films(plan, index, seed=seed, prevalence=prevalence):
            path = f"{'test' if index in test_patients else 'train'}/{film.label}/{film.name}.png"
            write_bytes(folder / path, _png(film.as_bytes()))
            if has_masks and film.mask.any():
                write_bytes(masks / f"{film.name}.png", _png(film.mask.astype(np.uint8) * np.uint8(255)))
            written.append((path, film))
        return written

    # NumPy, the PNG encoder and the disk all let other threads run meanwhile.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        rows = [row for rows in pool.map(draw_and_write, range(n_patients)) for row in rows]
    write_table(folder / "truth.csv", _truth(rows))
    facts = {"n_patients": n_patients, "seed": seed, "prevalence": prevalence, "test_fraction": test_fraction}
    write_manifest(folder, {"kind": "phantom", "plan": dataclasses.asdict(plan), **facts})
    return folder


def golden_film(size_px: int = 256) -> npt.NDArray[np.uint8]:
    """The fixed film that every bundle carries to verify itself with: uint8 (size_px, size_px), a subtle pneumonia.

    Never stored as the truth elsewhere: another processor or NumPy may round a pixel differently, so a bundle keeps
    its own copy of the pixels.
    """
    return draw_film(PhantomPlan(size_px=size_px), 0, film_index=0, seed=1895, is_diseased=True).as_bytes()


def _draw_patient_films(plan: PhantomPlan, index: int, *, seed: int, prevalence: float) -> tuple[PhantomFilm, ...]:
    is_diseased = has_disease(index, seed=seed, prevalence=prevalence)
    films = range(plan.films_per_patient)
    return tuple(draw_film(plan, index, film_index=film, seed=seed, is_diseased=is_diseased) for film in films)


def _test_patients(n_patients: int, *, seed: int, prevalence: float, test_fraction: float) -> frozenset[int]:
    """Indices of the test patients: the wanted share of each class, chosen by chance."""
    rng = _stream(seed, n_patients, _SPLIT)
    chosen: set[int] = set()
    for is_diseased, share in ((False, 1 - prevalence), (True, prevalence)):
        members = [i for i in range(n_patients) if has_disease(i, seed=seed, prevalence=prevalence) == is_diseased]
        n_test = max(1, round(test_fraction * len(members))) if test_fraction else 0
        if share > 0 and len(members) <= n_test:
            raise ConfigError(
                f"{n_patients} patients at prevalence {prevalence:g} cannot fill train and test with both classes.",
                "Ask for more patients, a prevalence nearer 0.5, or test_fraction 0.",
            )
        chosen.update(int(i) for i in rng.permutation(members)[:n_test])
    return frozenset(chosen)


def _truth(rows: list[tuple[str, PhantomFilm]]) -> dict[str, Column]:
    text = {
        "path": [path for path, _ in rows],
        "patient": [film.patient for _, film in rows],
        "split": [path.partition("/")[0] for path, _ in rows],
        "label": [film.label for _, film in rows],
    }
    columns: dict[str, Column] = {name: np.array(values, dtype=object) for name, values in text.items()}
    return {**columns, "severity": np.array([round(film.severity, 4) for _, film in rows])}


def _png(grey: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name} must be between {low} and {high}; got {value}.")


def _stream(seed: int, *key: int) -> np.random.Generator:
    if seed < 0:
        raise ConfigError(f"seed must be 0 or more; got {seed}.")
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _facts(
    disease: Disease | None, *parts: Positioning | Exposure | Furniture, shortcut_follows_class: float
) -> Mapping[str, float | str]:
    facts: dict[str, float | str] = {"pattern": disease.pattern if disease else ""}
    for part in parts:
        facts |= dataclasses.asdict(part)
    return MappingProxyType({**facts, "shortcut_follows_class": shortcut_follows_class})


@functools.lru_cache(maxsize=16)
def _case(
    seed: int, patient_index: int, difficulty: float, is_diseased: bool
) -> tuple[Patient, tuple[Strands, ...], Disease | None]:
    """What all films of a patient share; kept for the patient's next film."""
    patient = draw_patient(_stream(seed, patient_index, _ANATOMY))
    places = Places.of(patient)
    scars = tuple(draw_scars(places, _stream(seed, patient_index, _SCARS), difficulty=difficulty))
    if not is_diseased:
        return patient, scars, None
    return patient, scars, draw_disease(places, _stream(seed, patient_index, _DISEASE), difficulty=difficulty)


def _breathing_air(tissue: Tissue, patient: Patient, disease: Disease | None, place: tuple[View, Positioning]) -> Field:
    """Air on the film: the lungs' less vessels, texture and disease, and the air elsewhere."""
    size_px = tissue.air.shape[0]
    view, position = place
    points = to_film(patient.vessels.points, position)
    vessels = render_vessels(patient, points, size_px=size_px, zoom=position.zoom)
    open_share = 1.0 + _TEXTURE_SHARE * patient.texture
    if disease:
        open_share = open_share * (1.0 - disease.filled)
    open_share = sample_lattice(open_share, view, position)
    lung = (tissue.lung - np.minimum(vessels, 0.8 * tissue.lung)) * open_share
    return tissue.air - tissue.lung + lung


def _strands(strands: list[Strands], position: Positioning, size_px: int) -> Field:
    total = np.zeros((size_px, size_px), np.float32)
    for sigma in sorted({strand.sigma for strand in strands}):
        alike = [strand for strand in strands if strand.sigma == sigma]
        points, thickness, spacing = (
            np.concatenate([getattr(strand, name) for strand in alike]) for name in ("points", "thickness", "spacing")
        )
        mass = line_mass(thickness, spacing=spacing * position.zoom, size_px=size_px, sigma=sigma * position.zoom)
        total += splat(to_film(points, position), mass, size_px=size_px, sigma=sigma * position.zoom)
    return total


def _disease_mask(
    disease: Disease | None, field: npt.NDArray[np.bool_], place: tuple[View, Positioning]
) -> npt.NDArray[np.bool_]:
    """Where disease is at least 0.4 times as dense as at its densest place in the lung field."""
    if disease is None:
        return np.zeros_like(field)
    extent = np.where(field, sample_lattice(disease.extent, *place), 0.0)
    return extent > max(0.4 * float(extent.max()), 1e-3)
