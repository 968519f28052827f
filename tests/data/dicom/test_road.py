"""DICOM on the common road: the cache, the facts that the audit compares, and the same input as a picture gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxray.config import InputCard
from cxray.data.audit.scan import scan_films
from cxray.data.cache import prepare_all
from cxray.data.dicom.read import pixel_bytes
from cxray.data.intake import read_dataset, read_inputs
from tests.data.dicom.encodings import ENCODINGS
from tests.data.dicom.films import bytes_of, chest, film, save

CARD = InputCard(height=64, width=64)


def test_a_film_admitted_once_on_demand_is_not_found_in_the_cache_without_the_demand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(film(chest(), ViewPosition="LL"), tmp_path / "films" / "lateral.dcm")
    records = read_inputs([tmp_path / "films"]).records
    monkeypatch.setenv("CXRAY_DICOM_ACCEPT", "lateral-view")
    assert prepare_all(records, CARD, tmp_path / "cache").row_of.tolist() == [0]
    monkeypatch.delenv("CXRAY_DICOM_ACCEPT")
    again = prepare_all(records, CARD, tmp_path / "cache")
    assert again.row_of.tolist() == [-1]
    assert "is refused (lateral-view)" in again.errors[0]


def test_the_audit_weighs_pixels_and_not_the_length_of_a_name(tmp_path: Path) -> None:
    for label, name in (("ill", "Short"), ("well", "A very much longer name of a patient^Who has many given names")):
        for index in range(3):
            path = tmp_path / label / f"{index}.dcm"
            save(film(chest(seed=index), patient=f"{label}{index}", PatientName=name), path)
    scan = scan_films(read_dataset(tmp_path), tmp_path)
    assert len(set(scan.file_bytes.tolist())) == 1
    assert set(scan.kind) == {"dicom"}
    assert pixel_bytes(bytes_of(film(chest()))) == 240 * 220 * 2
    compressed = ENCODINGS["JPEG-LS"].film()[1]
    assert 20_000 < pixel_bytes(compressed) < len(compressed)


def test_films_reach_the_network_as_their_pictures_would(tmp_path: Path) -> None:
    stored = chest(bits=8).astype(np.uint8)
    save(film(stored, bits=8), tmp_path / "a" / "film.dcm")
    Image.fromarray(stored).save(tmp_path / "a" / "film.png")
    prepared = prepare_all(read_inputs([tmp_path / "a"]).records, CARD, tmp_path / "cache")
    films = prepared.take(np.array([0, 1]))
    np.testing.assert_array_equal(films[0], films[1])
