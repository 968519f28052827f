"""Patients of DICOM folders: by tag, by study where the tag names nobody, as codes that need the key."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxray.data.dicom import library
from cxray.data.dicom.pseudonym import Pseudonyms, load_pseudonyms
from cxray.data.intake import read_dataset, read_inputs
from cxray.errors import MissingExtra, OutputError, UsageError
from tests.conftest import draw
from tests.data.dicom.films import chest, film, save

Writer = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    def write_film(name: str, patient: str, **elements: Any) -> Path:
        return save(film(chest(200, 200), patient=patient, **elements), tmp_path / "data" / name)

    return write_film


def test_patients_are_told_apart_by_tag_and_carry_no_number(write: Writer, tmp_path: Path) -> None:
    for name, patient in (("a/1.dcm", "4711"), ("a/2.dcm", " 4711"), ("b/3", "0815"), ("b/patient-9-1.dcm", "0815")):
        write(name, patient)
    intake = read_dataset(tmp_path / "data")
    assert (intake.identity.source, intake.identity.confidence, intake.identity.n_patients) == ("dicom", "high", 2)
    patients = [record.patient for record in intake.records]
    assert patients[0] == patients[1] != patients[2] == patients[3]
    assert not any("4711" in patient or "0815" in patient for patient in patients)
    assert all(patient.startswith("patient:") and len(patient) == 24 for patient in patients)


@pytest.mark.parametrize("placeholder", ["", "ANONYMOUS", "anon123", "Unknown", "0000", "N/A", "xxx", "DE-IDENTIFIED"])
def test_a_placeholder_names_nobody_so_the_study_holds_films_together(
    placeholder: str, write: Writer, tmp_path: Path
) -> None:
    for name, study in (("a/1.dcm", "1.2.3"), ("a/2.dcm", "1.2.3"), ("b/3.dcm", "1.2.4")):
        write(name, placeholder, StudyInstanceUID=study)
    intake = read_dataset(tmp_path / "data")
    patients = [record.patient for record in intake.records]
    assert patients[0] == patients[1] != patients[2]
    assert patients[0].startswith("study:")
    assert intake.identity.confidence == "assumed"
    assert "for 3 films without a usable one, the study" in intake.identity.reason


def test_a_number_shared_by_people_of_three_birth_dates_names_nobody(write: Writer, tmp_path: Path) -> None:
    for index, born in enumerate(("19500101", "19600101", "19700101")):
        write(f"a/{index}.dcm", "4711", PatientBirthDate=born, StudyInstanceUID=f"1.2.{index}")
    assert read_inputs([tmp_path / "data"]).identity.n_patients == 3


def test_two_birth_dates_may_be_a_slip_of_the_pen(write: Writer, tmp_path: Path) -> None:
    for index, born in enumerate(("19500101", "19500110")):
        write(f"a/{index}.dcm", "4711", PatientBirthDate=born, StudyInstanceUID=f"1.2.{index}")
    assert read_inputs([tmp_path / "data"]).identity.n_patients == 1


def test_other_films_beside_dicom_are_read_by_their_names(write: Writer, tmp_path: Path) -> None:
    write("a/1.dcm", "4711")
    draw(tmp_path / "data" / "a" / "person1_virus_1.png")
    draw(tmp_path / "data" / "b" / "person1_virus_2.png")
    intake = read_dataset(tmp_path / "data")
    assert [record.patient for record in intake.records][1:] == ["person1-virus"] * 2
    assert (intake.identity.n_patients, intake.identity.unmatched) == (2, 0)


def test_a_table_that_names_patients_is_believed(write: Writer, tmp_path: Path) -> None:
    path = write("a/1.dcm", "4711")
    table = tmp_path / "films.csv"
    table.write_text(f"path,label,patient\n{path},x,mine\n")
    assert read_dataset(table).records[0].patient == "mine"


def test_a_broken_header_makes_the_film_a_patient_of_its_own(write: Writer, tmp_path: Path) -> None:
    write("a/1.dcm", "4711")
    broken = write("a/2.dcm", "4711")
    broken.write_bytes(broken.read_bytes()[:150])
    patients = [record.patient for record in read_dataset(tmp_path / "data").records]
    assert patients[1] == f"film:{broken.as_posix()}"


def test_the_index_of_a_disc_is_no_film(write: Writer, tmp_path: Path) -> None:
    write("a/1.dcm", "4711")
    write("DICOMDIR", "4711")
    assert read_inputs([tmp_path / "data"]).passed_over == {"index of a DICOM disc": 1}


def test_the_same_key_gives_the_same_codes_and_another_key_others(write: Writer, tmp_path: Path) -> None:
    write("a/1.dcm", "4711")

    def patient() -> str:
        return read_inputs([tmp_path / "data"]).records[0].patient

    assert patient() == patient()
    first = patient()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXRAY_KEY", str(tmp_path / "another.key"))
        assert patient() != first


def test_without_the_extra_data_to_learn_from_is_refused_and_films_to_score_go_on(
    write: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("a/1.dcm", "4711")

    def missing() -> None:
        raise MissingExtra("Reading DICOM needs pydicom.", "Install it.")

    monkeypatch.setattr("cxray.data.dicom.patients.load", missing)
    with pytest.raises(MissingExtra, match="Reading DICOM needs pydicom"):
        read_dataset(tmp_path / "data")
    monkeypatch.setattr(library.extras, "is_available", lambda _: False)
    assert len(read_inputs([tmp_path / "data"]).records) == 1


def test_a_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "my.key"
    first = load_pseudonyms(path)
    assert len(path.read_bytes()) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    assert Pseudonyms(path.read_bytes()).patient("4711") == first.patient("4711") == first.patient(" 4711 ")


def test_bad_keys_are_refused(tmp_path: Path) -> None:
    short = tmp_path / "short.key"
    short.write_bytes(b"x" * 31)
    with pytest.raises(UsageError, match="at least 32 bytes, got 31"):
        load_pseudonyms(short)
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        load_pseudonyms(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises((UsageError, OutputError), match="Name (another|a) file"):
        load_pseudonyms(tmp_path / "file" / "a.key")


def test_codes_of_uids_are_valid_and_dates_move_by_days_to_years() -> None:
    codes = Pseudonyms(b"k" * 32)
    uid = codes.uid("1.2.840.1")
    assert uid.startswith("2.25.") and len(uid) <= 64 and uid != codes.uid("1.2.840.2")
    shifts = [codes.shift_seconds(f"P{number}") for number in range(200)]
    assert min(shifts) >= 86400 and max(shifts) < 3650 * 86400
    assert len(set(shifts)) == 200
    assert codes.fingerprint != Pseudonyms(b"l" * 32).fingerprint


def test_the_key_is_kept_in_the_users_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from cxray.data.dicom.pseudonym import key_path

    monkeypatch.delenv("CXRAY_KEY")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert key_path() == tmp_path / "cxray" / "pseudonym.key"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert key_path() == tmp_path / "home" / ".config" / "cxray" / "pseudonym.key"
    assert not key_path().exists()
