"""De-identification: nothing planted comes through at any depth, and what stays is a valid film of the same pixels."""

from __future__ import annotations

import csv
import datetime
import io
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import get_frame
from pydicom.sequence import Sequence

from cxray.data.dicom import profile, read_dicom
from cxray.data.dicom.admission import SECONDARY_CAPTURES
from cxray.data.dicom.deidentify import DeidentifiedFilm, Wishes, deidentify_film
from cxray.data.dicom.pseudonym import Pseudonyms
from cxray.errors import RefusedFilm, UnreadableImage
from tests.data.dicom.encodings import ENCODINGS, with_frame
from tests.data.dicom.films import PLANTED_WORDS, bytes_of, chest, film, look_up_table, plant_deep, planted

CODES = Pseudonyms(b"a key for tests, thirty-two bytes")
PROFILE = Path(__file__).resolve().parents[2] / "reference" / "ps315_profile.csv"


def release(dataset: FileDataset, **wishes: Any) -> tuple[DeidentifiedFilm, Any]:
    done = deidentify_film(bytes_of(dataset), CODES, Wishes(**wishes))
    return done, dcmread(io.BytesIO(done.content))


def leaks(content: bytes) -> list[str]:
    return [word for word in PLANTED_WORDS if word.lower().encode() in content.lower()]


def valid_film(**elements: Any) -> FileDataset:
    """A DX film that dciodvfy has nothing against."""
    region, view = Dataset(), Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "51185008", "SCT", "our own word for chest"
    view.CodeValue, view.CodingSchemeDesignator, view.CodeMeaning = "399348003", "SCT", "our own word for AP"
    extra = {
        "AnatomicRegionSequence": Sequence([region]), "ViewCodeSequence": Sequence([view]), "ViewPosition": "AP",
        "WindowCenter": "2048", "WindowWidth": "4096", "PositionerType": "NONE", "AcquisitionContextSequence": [],
        "ContentDate": "20240513", "ContentTime": "101531",
    }  # fmt: skip
    return film(chest(), **{**extra, **elements})


def test_no_planted_identifier_comes_through_at_any_depth() -> None:
    dataset = film(chest(), **planted())
    plant_deep(dataset)
    assert len(leaks(bytes_of(dataset))) == len(PLANTED_WORDS), "the test must plant what it looks for"
    done, _ = release(dataset)
    assert leaks(done.content) == []
    assert leaks(repr(done).encode()) == []


def test_a_name_typed_into_kept_elements_does_not_come_through() -> None:
    name = "ZWETSCHGENMANN"
    fields = ("BodyPartExamined", "ViewPosition", "ImageLaterality", "DetectorType", "RescaleType", "Manufacturer",
              "ManufacturerModelName", "PresentationIntentType", "ImageType", "PatientSex")  # fmt: skip
    for keyword in fields:
        elements = {**planted(), keyword: name}
        for wishes in ({}, {"characteristics": True}):
            done, _ = release(film(chest(), **elements), **wishes)
            assert leaks(done.content) == [], keyword


def test_comments_inside_code_streams_do_not_come_through() -> None:
    content = ENCODINGS["JPEG lossless"].film()[1]
    dataset = dcmread(io.BytesIO(content))
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    comment = b"Zwetschgenmann!!"
    spoiled = frame[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + frame[2:]
    source = with_frame(dataset, uid.JPEGLossless, spoiled)
    assert leaks(source) == ["Zwetschgenmann"]
    done = deidentify_film(source, CODES)
    assert leaks(done.content) == []
    np.testing.assert_array_equal(read_dicom(done.content).pixels, read_dicom(source).pixels)


def test_a_code_stream_with_comments_deep_inside_is_written_anew() -> None:
    dataset = dcmread(io.BytesIO(ENCODINGS["JPEG lossless"].film()[1]))
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    end = frame.rindex(b"\xff\xd9")
    source = with_frame(dataset, uid.JPEGLossless, frame[:end] + b"\xff\xfe\x00\x10Zwetschgenmann" + frame[end:])
    done = deidentify_film(source, CODES)
    assert leaks(source) == ["Zwetschgenmann"] and leaks(done.content) == []
    assert "pixels rewritten: comments deep in the code stream" in done.facts
    np.testing.assert_array_equal(read_dicom(done.content).pixels, read_dicom(source).pixels)


def test_text_behind_the_pixels_and_in_unused_bits_does_not_come_through() -> None:
    dataset = film(chest())
    hidden = np.frombuffer(dataset.PixelData, "<u2").copy()
    hidden |= 0x5000
    dataset.PixelData = hidden.tobytes() + b"Zwetschgenmann"
    dataset.preamble = b"Zwetschgenmann".ljust(128)
    done, result = release(dataset)
    assert leaks(done.content) == []
    assert int(np.frombuffer(result.PixelData, "<u2").max()) < 4096
    assert len(result.PixelData) == 240 * 220 * 2
    assert "pixels rewritten: bits above BitsStored cut off" in done.facts


def test_every_element_of_the_standards_list_is_removed_emptied_or_replaced() -> None:
    dataset = film(chest(), **planted())
    with PROFILE.open(newline="") as stream:
        listed = {row["keyword"] for row in csv.DictReader(stream) if row["keyword"]}
    assert len(listed) > 550
    before = {}
    # Commands and the file's own meta group are never part of a data set; the latter is written anew.
    for keyword in sorted(keyword for keyword in listed if tag_for_keyword(keyword) >> 16 > 2):
        example = _example(dictionary_VR(keyword))
        if example is not None and not dictionary_VR(keyword).startswith("SQ"):
            if keyword not in dataset:
                setattr(dataset, keyword, example)
            before[keyword] = str(dataset[keyword].value)
    assert len(before) > 450
    _, result = release(dataset, characteristics=False)
    kept = {keyword for keyword in before if keyword in result and str(result[keyword].value) == before[keyword]}
    assert kept <= {"DeidentificationMethod"}, "a listed element kept the value it had"


def _example(vr: str) -> Any:
    return {
        "DA": "19770707", "TM": "070707", "DT": "19770707070707", "PN": "Leak^Person", "UI": "1.2.3.777",
        "LO": "leaky 777", "SH": "leak777", "ST": "leaky 777", "LT": "leaky 777", "UT": "leaky 777", "CS": "LEAK777",
        "AE": "LEAK777", "AS": "077Y", "DS": "777", "IS": "777", "US": 777, "UL": 777, "FD": 777.0, "FL": 777.0,
        "UC": "leaky 777", "OB": b"leak777!",
    }.get(vr)  # fmt: skip


def test_the_markers_of_the_standard_are_set() -> None:
    _, result = release(film(chest()), characteristics=True)
    assert result.PatientIdentityRemoved == "YES"
    assert result.LongitudinalTemporalInformationModified == "MODIFIED"
    codes = [(item.CodeValue, item.CodingSchemeDesignator) for item in result.DeidentificationMethodCodeSequence]
    assert codes == [("113100", "DCM"), ("113107", "DCM"), ("113108", "DCM")]
    _, result = release(film(chest()), dates="remove")
    assert result.LongitudinalTemporalInformationModified == "REMOVED"
    assert [item.CodeValue for item in result.DeidentificationMethodCodeSequence] == ["113100"]
    assert (result.StudyDate, result.StudyTime) == ("", "")


def test_dates_move_by_one_interval_per_patient_and_distances_stay() -> None:
    moments = {}
    for day, time in (("20240513", "101530"), ("20240520", "091500")):
        _, result = release(film(chest(), patient="P1", StudyDate=day, StudyTime=time))
        moments[day] = datetime.datetime.strptime(result.StudyDate + result.StudyTime, "%Y%m%d%H%M%S")
    truth = datetime.datetime(2024, 5, 20, 9, 15) - datetime.datetime(2024, 5, 13, 10, 15, 30)
    assert moments["20240520"] - moments["20240513"] == truth
    assert moments["20240513"] < datetime.datetime(2024, 5, 12, 10, 16)
    _, other = release(film(chest(), patient="P2", StudyDate="20240513", StudyTime="101530"))
    assert other.StudyDate + other.StudyTime != f"{moments['20240513']:%Y%m%d%H%M%S}"


@pytest.mark.parametrize(("date", "time"), [("", ""), ("2024", "10"), ("99999999", "101010"), ("gestern", "x")])
def test_malformed_dates_are_emptied(date: str, time: str) -> None:
    _, result = release(film(chest(), StudyDate=date, StudyTime=time))
    assert result.StudyDate == ""


def test_a_date_without_a_time_moves_by_whole_days() -> None:
    _, result = release(film(chest(), StudyTime="99"))
    assert len(result.StudyDate) == 8 and result.StudyTime == ""


def test_the_same_key_gives_the_same_bytes_and_another_key_other_codes() -> None:
    first, second = release(film(chest(), **planted()))[0], release(film(chest(), **planted()))[0]
    assert first.content == second.content
    other = deidentify_film(bytes_of(film(chest(), **planted())), Pseudonyms(b"x" * 32))
    assert {first.patient, first.film, first.study}.isdisjoint({other.patient, other.film, other.study})


def test_films_of_a_patient_and_a_study_stay_together() -> None:
    one, two = (release(film(chest(seed=seed), patient="P1"))[1] for seed in (1, 2))
    assert one.PatientID == two.PatientID == one.PatientName
    assert one.StudyInstanceUID == two.StudyInstanceUID and one.SOPInstanceUID != two.SOPInstanceUID
    assert one.SOPInstanceUID == one.file_meta.MediaStorageSOPInstanceUID
    stranger = release(film(chest(), patient="P2"))[1]
    assert stranger.PatientID != one.PatientID


def test_films_without_a_patient_number_are_not_thrown_together() -> None:
    one = release(film(chest(), patient="", StudyInstanceUID="1.2.3"))[1]
    two = release(film(chest(), patient="", StudyInstanceUID="1.2.4"))[1]
    assert one.PatientID != two.PatientID


def test_characteristics_are_kept_only_on_wish_and_old_age_is_blurred() -> None:
    dataset = film(chest(), PatientSex="F", PatientAge="093Y", PatientWeight="61")
    _, result = release(dataset)
    assert result.PatientSex == "" and "PatientAge" not in result and "PatientWeight" not in result
    _, result = release(dataset, characteristics=True)
    assert (result.PatientSex, result.PatientAge, result.PatientWeight) == ("F", "090Y", 61)


@pytest.mark.parametrize(
    ("age", "kept"), [("089Y", "089Y"), ("090Y", "090Y"), ("091Y", "090Y"), ("003M", "003M"), ("9", "")]
)
def test_ages_at_the_edge(age: str, kept: str) -> None:
    assert profile.allowed_age(age) == kept


@pytest.mark.parametrize("name", ENCODINGS)
def test_pixels_stay_the_same_in_every_encoding(name: str) -> None:
    content = ENCODINGS[name].film()[1]
    done = deidentify_film(content, CODES)
    np.testing.assert_array_equal(read_dicom(done.content).pixels, read_dicom(content).pixels)


def test_tables_and_windows_stay_and_hidden_bytes_in_tables_do_not() -> None:
    table = look_up_table(0, np.arange(4096)[::-1], 12)
    done, result = release(film(chest(), VOILUTSequence=table))
    assert result.VOILUTSequence[0].LUTDescriptor == [4096, 0, 12]
    assert "VOI LUT applied" in read_dicom(done.content).facts
    table[0].LUTData += b"Zwetschgenmann"
    done, result = release(film(chest(), VOILUTSequence=table))
    assert "VOILUTSequence" not in result and leaks(done.content) == []


def test_signed_films_stay_signed() -> None:
    signed = (chest().astype(np.int16) - np.int16(2048)).astype(np.int16)
    done, _ = release(film(signed))
    np.testing.assert_array_equal(read_dicom(done.content).pixels, read_dicom(bytes_of(film(signed))).pixels)


def test_codes_keep_the_standards_words_only() -> None:
    odd = Dataset()
    odd.CodeValue, odd.CodingSchemeDesignator, odd.CodeMeaning = "Q1", "99LOCAL", "Besuch von Tante Kunigunde"
    dataset = valid_film()
    dataset.ViewModifierCodeSequence = Sequence([odd])
    _, result = release(dataset)
    assert result.ViewCodeSequence[0].CodeMeaning == "antero-posterior"
    assert result.AnatomicRegionSequence[0].CodeMeaning == "Chest"
    assert "ViewModifierCodeSequence" not in result
    assert profile.known_meaning("R-10214", "SRT") == "postero-anterior"
    assert profile.known_meaning("R-10206", "SRT") == "antero-posterior"


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"BurnedInAnnotation": "YES"}, "burned-in-annotation"),
        ({"SOPClassUID": SECONDARY_CAPTURES[0]}, "sop-class"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "sop-class"),
        ({"NumberOfFrames": 2}, "frames"),
    ],
)
def test_what_cannot_be_vouched_for_is_refused(elements: dict[str, Any], reason: str) -> None:
    with pytest.raises(RefusedFilm) as refused:
        release(film(chest(), **elements))
    assert refused.value.reason == reason


def test_pixels_that_cannot_be_decoded_are_not_released() -> None:
    content = ENCODINGS["JPEG-LS"].film()[1]
    with pytest.raises(UnreadableImage):
        deidentify_film(content[: len(content) // 2], CODES)


def test_views_that_no_model_may_judge_are_released_all_the_same() -> None:
    done, _ = release(film(chest(), BodyPartExamined="HAND", ViewPosition="LL"))
    assert done.film


def test_a_film_that_does_not_rule_out_burned_in_text_says_so() -> None:
    done, result = release(film(chest(), BurnedInAnnotation=None))
    assert done.facts == ("burned-in text not ruled out by the header",)
    assert "BurnedInAnnotation" not in result


def test_a_valid_film_stays_valid(tmp_path: Path) -> None:
    program = subprocess.run(["sh", "-c", "command -v -p dciodvfy"], capture_output=True, text=True, check=False)
    if not program.stdout.strip():
        pytest.skip("dciodvfy is not installed (Debian package dicom3tools)")

    def errors(content: bytes) -> list[str]:
        (tmp_path / "film.dcm").write_bytes(content)
        command = [program.stdout.strip(), str(tmp_path / "film.dcm")]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert "DXImageForPresentation" in result.stderr + result.stdout
        return [line for line in (result.stdout + result.stderr).splitlines() if line.startswith("Error")]

    assert errors(bytes_of(valid_film())) == []
    for wishes in ({}, {"dates": "remove"}, {"characteristics": True}):
        assert errors(release(valid_film(**planted(), PatientAge="061Y"), **wishes)[0].content) == []
    broken = valid_film(PhotometricInterpretation=None)
    assert errors(bytes_of(broken)) != [], "the validator must see faults"
