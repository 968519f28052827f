"""`cxray deidentify` as a user meets it: folders, keys, refusals, what is left behind and what is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydicom import dcmread

from cxray.cli import cli
from cxray.data.dicom.deidentify import Wishes
from cxray.errors import DataError, PartialResult, UsageError
from cxray.rundir import is_complete
from cxray.tables import read_table
from cxray.workflow.deidentify import deidentify
from tests.conftest import draw
from tests.data.dicom.films import PLANTED_WORDS, chest, film, plant_deep, planted, save


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    root = tmp_path / "archive"
    for name, patient in (("Zwetschgenmann/1.dcm", "P1"), ("Zwetschgenmann/2", "P1"), ("other/3.dcm", "P2")):
        dataset = film(chest(200, 200, seed=len(name)), **{**planted(), "PatientID": patient})
        plant_deep(dataset)
        save(dataset, root / name)
    return root


def test_films_are_written_by_patient_and_nothing_names_anybody(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "released"
    done = deidentify([archive], out, key=tmp_path / "my.key")
    assert (done.films, done.patients, done.refused) == (3, 2, {})
    table = read_table(out / "films.csv")
    assert sorted(table["path"]) == sorted(p.relative_to(out).as_posix() for p in out.rglob("*.dcm"))
    assert {Path(path).parent.name for path in table["path"]} == set(table["patient"])
    everything = b"".join(path.read_bytes() + str(path).encode() for path in out.rglob("*") if path.is_file())
    assert [word for word in PLANTED_WORDS if word.lower().encode() in everything.lower()] == []
    assert is_complete(out)
    assert json.loads((out / "manifest.json").read_text())["films"] == 3


def test_a_second_run_with_the_same_key_gives_the_same_files(archive: Path, tmp_path: Path) -> None:
    for out in ("one", "two"):
        deidentify([archive], tmp_path / out, key=tmp_path / "my.key")
    one, two = (
        {p.relative_to(tmp_path / out): p.read_bytes() for p in (tmp_path / out).rglob("*.dcm")}
        for out in ("one", "two")
    )
    assert one == two
    deidentify([archive], tmp_path / "three", key=tmp_path / "another.key")
    assert not {p.name for p in (tmp_path / "three").rglob("*.dcm")} & {path.name for path in one}


def test_folders_are_kept_on_wish_only(archive: Path, tmp_path: Path) -> None:
    deidentify([archive / "other"], tmp_path / "flat")
    deidentify([archive], tmp_path / "kept", keep_folders=True)
    assert not (tmp_path / "flat" / "other").exists()
    assert len(list((tmp_path / "kept" / "other").rglob("*.dcm"))) == 1


def test_refused_and_damaged_films_are_counted_and_the_rest_is_complete(archive: Path, tmp_path: Path) -> None:
    save(film(chest(), patient="P3", BurnedInAnnotation="YES"), archive / "burned.dcm")
    whole = (archive / "other" / "3.dcm").read_bytes()
    (archive / "cut.dcm").write_bytes(whole[:-500])
    draw(archive / "export.png")
    done = deidentify([archive], tmp_path / "out")
    assert done.films == 3
    assert {reason: len(paths) for reason, paths in done.refused.items()} == {
        "burned-in-annotation": 1,
        "unreadable": 1,
    }
    assert done.passed_over == {"film that is not DICOM": 1}
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 3


def test_the_same_film_twice_is_one_film(archive: Path, tmp_path: Path) -> None:
    (archive / "copy.dcm").write_bytes((archive / "other" / "3.dcm").read_bytes())
    assert deidentify([archive], tmp_path / "out").films == 3


def test_outputs_that_would_destroy_what_is_read_are_refused(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lies in .*, where the results would go"):
        deidentify([archive], archive)
    with pytest.raises(UsageError, match="my.key lies in"):
        deidentify([archive], tmp_path / "out", key=tmp_path / "out" / "my.key")
    deidentify([archive], tmp_path / "out")
    with pytest.raises(UsageError, match="already holds files"):
        deidentify([archive], tmp_path / "out")
    assert deidentify([archive], tmp_path / "out", overwrite=True).films == 3


def test_nothing_to_do_is_said(tmp_path: Path) -> None:
    draw(tmp_path / "films" / "a.png")
    with pytest.raises(DataError, match="No DICOM films were found in"):
        deidentify([tmp_path / "films"], tmp_path / "out")
    with pytest.raises(DataError, match="There is nothing at"):
        deidentify([tmp_path / "none"], tmp_path / "out")
    with pytest.raises(UsageError, match="dates must be one of shift, remove, got 'keep'"):
        deidentify([tmp_path / "films"], tmp_path / "out", wishes=Wishes(dates="keep"))
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_it_did(archive: Path, tmp_path: Path) -> None:
    arguments = [
        "deidentify",
        str(archive),
        "--out",
        str(tmp_path / "out"),
        "--keep-characteristics",
        "--dates",
        "remove",
    ]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0
    assert f"3 films of 2 patients written to {tmp_path / 'out'}." in done.output
    result = dcmread(next((tmp_path / "out").rglob("*.dcm")))
    assert (result.StudyDate, result.PatientSex) == ("", "O")
    as_json = CliRunner().invoke(cli, ["deidentify", str(archive), "--out", str(tmp_path / "json"), "--json"])
    assert json.loads(as_json.stdout)["patients"] == 2


def test_the_command_ends_with_eight_when_something_was_refused(archive: Path, tmp_path: Path) -> None:
    save(film(chest(), patient="P3", BurnedInAnnotation="YES"), archive / "burned.dcm")
    done = CliRunner().invoke(cli, ["deidentify", str(archive), "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, PartialResult)
    assert "Not written: 1 × burned-in-annotation. The first is" in str(done.exception)
