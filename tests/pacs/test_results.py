"""Results: what they say, and that two validators that know nothing of us find nothing wrong with them."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("highdicom", reason="needs the extra pacs")

import pydicom

from cxray.errors import DataError
from cxray.explain.card import NAME
from cxray.pacs.assess import Assessor, SkippedFilm
from cxray.pacs.codes import FindingCode
from cxray.pacs.presentation_state import MOST_POINTS, outline
from cxray.pacs.reading import Finding, Maker, Reading, Refusal
from cxray.pacs.results import build_results
from cxray.pacs.secondary_capture import LONGEST_SIDE_PIXELS, overlay
from cxray.pacs.source import COPIED, is_own_output
from tests.data.dicom.films import save
from tests.pacs.films import COLUMNS, PATCH, ROWS, draw_film
from tests.pacs.world import dciodvfy

# Faults are planted here on purpose; pydicom remarks on them when the film is made.
pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")
CODED = {"ILL": {"value": "36118008", "scheme": "SCT", "meaning": "Pneumothorax"}}
# Our own scheme is in no validator's table, by its nature.
OWN_SCHEME = "<99CXRAY>"
MAKER = Maker("bright", "0123456789ab", "9.9.9", "f" * 64)
NOON = datetime.datetime(2026, 3, 1, 12, 30, 15, 250000)


@pytest.fixture(scope="module")
def assessor(tmp_path_factory: pytest.TempPathFactory) -> Assessor:
    from tests.pacs.bundles import write_bundle

    return Assessor.open(write_bundle(tmp_path_factory.mktemp("bundle") / "coded", finding_codes=CODED))


def results_of(assessor: Assessor, film: Any, folder: Path) -> dict[str, Path]:
    """Assess a film and write its results."""
    source, reading = assessor.assess(save(film, folder / "film.dcm"))
    return {k: save(r, folder / f"{k}.dcm") for k, r in build_results(source, reading, assessor.maker).items()}


def evaluations(report: Any) -> dict[str, str]:
    """Concept name's meaning to value's meaning (or text) of the qualitative evaluations."""
    container = next(item for item in report.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "C0034375")
    return {
        item.ConceptNameCodeSequence[0].CodeMeaning: item.TextValue
        if item.ValueType == "TEXT"
        else item.ConceptCodeSequence[0].CodeMeaning
        for item in container.ContentSequence
    }


def measurements(report: Any) -> list[dict[str, Any]]:
    """The items of each measurement group by concept name."""
    groups = next(item for item in report.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "126010")
    return [
        {
            item.ConceptNameCodeSequence[0].CodeMeaning: item
            for item in group.ContentSequence
            if "ConceptNameCodeSequence" in item
        }
        for group in groups.ContentSequence
    ]


def test_an_ill_film_gets_a_report_an_overlay_and_an_outline_that_validators_accept(
    assessor: Assessor, pixelmed: Any, tmp_path: Path
) -> None:
    results = results_of(assessor, draw_film(ill=True, patient="P1"), tmp_path)
    assert sorted(results) == ["gsps", "sc", "sr"]
    for path in results.values():
        assert dciodvfy(path) == []
    pixelmed(results["sr"])


def test_the_report_says_probability_presence_site_model_and_source(assessor: Assessor, tmp_path: Path) -> None:
    film = draw_film(ill=True, patient="P1")
    report = pydicom.dcmread(results_of(assessor, film, tmp_path)["sr"])
    (group,) = measurements(report)
    probability = group["Probability"].MeasuredValueSequence[0]
    assert 0.7 < float(probability.NumericValue) < 0.8
    assert probability.MeasurementUnitsCodeSequence[0].CodeValue == "1"
    assert group["Finding"].ConceptCodeSequence[0].CodeValue == "36118008"
    assert group["Algorithm Name"].TextValue == "bright"
    assert assessor.maker.identifier in group["Algorithm Version"].TextValue
    said = evaluations(report)
    assert said["Pneumothorax"] == "Present"
    assert said["CAD Processing and Findings Summary"] == "All algorithms succeeded; with findings"
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert evidence.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == film.SOPInstanceUID
    flags = (report.CompletionFlag, report.PreliminaryFlag, report.VerificationFlag)
    assert flags == ("COMPLETE", "PRELIMINARY", "UNVERIFIED")


def test_a_healthy_film_gets_no_outline_and_says_absent(assessor: Assessor, tmp_path: Path) -> None:
    results = results_of(assessor, draw_film(ill=False, patient="P2"), tmp_path)
    assert sorted(results) == ["sc", "sr"]
    said = evaluations(pydicom.dcmread(results["sr"]))
    assert said["Pneumothorax"] == "Absent"
    assert said["CAD Processing and Findings Summary"] == "All algorithms succeeded; without findings"


def test_the_outline_lies_on_what_the_model_saw(assessor: Assessor, tmp_path: Path) -> None:
    results = results_of(assessor, draw_film(ill=True, patient="P1"), tmp_path)
    state = pydicom.dcmread(results["gsps"])
    graphic = state.GraphicAnnotationSequence[0].GraphicObjectSequence[0]
    points = np.array(graphic.GraphicData).reshape(-1, 2)
    assert graphic.GraphicAnnotationUnits == "PIXEL"
    assert np.array_equal(points[0], points[-1])
    middle = points.mean(axis=0)
    rows, columns = PATCH
    assert abs(middle[0] - (columns.start + columns.stop) / 2) < 20
    assert abs(middle[1] - (rows.start + rows.stop) / 2) < 20
    # One cell of the model's map is 40 pixels of the film; the outline may be off by half of one.
    assert points[:, 0].min() > columns.start - 25 and points[:, 0].max() < columns.stop + 25
    assert points[:, 1].min() > rows.start - 25 and points[:, 1].max() < rows.stop + 25


def test_maps_that_failed_their_tests_are_not_drawn(tmp_path: Path) -> None:
    from tests.pacs.bundles import judge_maps, write_bundle

    shown = write_bundle(tmp_path / "bundle", finding_codes=CODED)
    makers = [Assessor.open(shown).maker]
    judge_maps(shown, passed=False)
    withheld = Assessor.open(shown)
    results = results_of(withheld, draw_film(ill=True, patient="P1"), tmp_path)
    assert sorted(results) == ["sc", "sr"]
    (shown / NAME).unlink()
    assert Assessor.open(shown).maps == frozenset()
    # Results that say something else get other UIDs.
    assert withheld.maker.fingerprint != makers[0].fingerprint


@pytest.mark.parametrize(("polarity", "shape"), [("MONOCHROME1", "INVERSE"), ("MONOCHROME2", "IDENTITY")])
def test_the_outline_keeps_the_films_polarity(polarity: str, shape: str) -> None:
    film = draw_film(ill=True, patient="P1", PhotometricInterpretation=polarity, PresentationLUTShape=shape)
    state = build_results(film, reading(activation=blob()), MAKER)["gsps"]
    assert state.PresentationLUTShape == shape


def test_a_refusal_is_a_result_with_its_reason(assessor: Assessor, pixelmed: Any, tmp_path: Path) -> None:
    results = results_of(assessor, draw_film(ill=True, patient="P3", ViewPosition="LL"), tmp_path)
    assert sorted(results) == ["sc", "sr"]
    said = evaluations(pydicom.dcmread(results["sr"]))
    assert said["CAD Processing and Findings Summary"] == "No algorithms succeeded; without findings"
    assert said["Comment"] == "Not assessed (lateral-view): It is a lateral view."
    for path in results.values():
        assert dciodvfy(path) == []
    pixelmed(results["sr"])


def test_pixels_that_cannot_be_decoded_are_a_refusal_too(assessor: Assessor, tmp_path: Path) -> None:
    film = draw_film(ill=True, patient="P4")
    film.PixelData = film.PixelData[:1000]
    report = pydicom.dcmread(results_of(assessor, film, tmp_path)["sr"])
    assert evaluations(report)["Comment"] == "Not assessed (unreadable): The pixels could not be decoded."


def test_validators_are_awake(assessor: Assessor, pixelmed: Any, tmp_path: Path) -> None:
    """Negative controls: a wrong relationship is PixelMed's to find, a missing attribute dciodvfy's."""
    report = pydicom.dcmread(results_of(assessor, draw_film(ill=True, patient="P1"), tmp_path)["sr"])
    report.ContentSequence[0].RelationshipType = "INFERRED FROM"
    pixelmed(save(report, tmp_path / "wrong.dcm"), is_valid=False)
    del report.PreliminaryFlag, report.StudyInstanceUID
    assert any(line.startswith("Error") for line in dciodvfy(save(report, tmp_path / "missing.dcm")))


def test_a_code_of_our_own_is_declared_and_valid(bundle: Path, tmp_path: Path) -> None:
    results = results_of(Assessor.open(bundle), draw_film(ill=True, patient="P5"), tmp_path)
    report = pydicom.dcmread(results["sr"])
    scheme = next(s for s in report.CodingSchemeIdentificationSequence if s.CodingSchemeDesignator == "99CXRAY")
    assert scheme.CodingSchemeResponsibleOrganization == "cxray"
    assert dciodvfy(results["sr"], ignoring=[OWN_SCHEME]) == []


def test_the_same_film_gives_the_same_uids_and_another_model_others(assessor: Assessor) -> None:
    film = draw_film(ill=True, patient="P1")
    first, second = (build_results(film, reading(activation=blob()), MAKER) for _ in range(2))
    other = build_results(film, reading(activation=blob()), Maker("bright", "0123456789ab", "9.9.9", "e" * 64))
    for kind in ("sr", "sc", "gsps"):
        assert first[kind].SOPInstanceUID == second[kind].SOPInstanceUID != other[kind].SOPInstanceUID
        assert first[kind].SeriesInstanceUID == second[kind].SeriesInstanceUID != other[kind].SeriesInstanceUID
    uids = {result.SOPInstanceUID for result in first.values()}
    assert len(uids) == len({result.SeriesInstanceUID for result in first.values()}) == 3


def test_patient_and_study_are_copied_value_for_value(tmp_path: Path) -> None:
    film = draw_film(
        ill=True,
        patient="P1",
        SpecificCharacterSet=["", "ISO 2022 IR 87"],
        PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう",
        AccessionNumber="ACC-1",
        StudyDescription="Thorax",
        PatientAge="063Y",
        TimezoneOffsetFromUTC="+0100",
    )
    source = pydicom.dcmread(save(film, tmp_path / "film.dcm"))
    for kind, result in build_results(source, reading(activation=blob()), MAKER).items():
        read = pydicom.dcmread(save(result, tmp_path / f"{kind}.dcm"))
        for name in (name for name in COPIED if name in source):
            assert read[name].value == source[name].value, (kind, name)
        assert read.SeriesInstanceUID != source.SeriesInstanceUID
        assert dciodvfy(tmp_path / f"{kind}.dcm", ignoring=[OWN_SCHEME]) == []


@pytest.mark.parametrize(
    "faults",
    [
        {"WindowCenter": "2000", "WindowWidth": "0"},
        {"WindowCenter": "2000", "WindowWidth": None},
        {"WindowCenter": ["1", "2"], "WindowWidth": ["100", "200"], "WindowCenterWidthExplanation": "one"},
        {"WindowCenter": "2000", "WindowWidth": "100", "VOILUTFunction": "BENT"},
        {"RescaleSlope": "0"},
        {"RescaleSlope": None},
        {"ImagerPixelSpacing": ["0", "0"]},
        {"PhotometricInterpretation": "monochrome2"},
        {"PatientSex": "W"},
        {"PatientBirthDate": ""},
        {"StudyTime": None, "StudyID": None, "AccessionNumber": None, "ReferringPhysicianName": None},
        {"InstanceNumber": None},
        {"PatientOrientation": None},
    ],
    ids=lambda faults: "-".join(faults),
)
def test_faults_of_the_film_do_not_become_faults_of_the_results(faults: dict[str, Any], tmp_path: Path) -> None:
    film = draw_film(ill=True, patient="P1", **faults)
    copied = ("Patient's Sex", "PatientSex")
    for kind, result in build_results(film, reading(activation=blob()), MAKER).items():
        path = save(result, tmp_path / f"{kind}.dcm")
        complaints = dciodvfy(path, ignoring=[OWN_SCHEME, *copied])
        assert complaints == [], kind


def test_the_overlay_shows_the_film_the_area_and_the_research_line() -> None:
    picture = np.full((400, 300), 128, dtype=np.uint8)
    plain = overlay(reading(picture=picture), MAKER)
    warm = overlay(reading(picture=picture, activation=blob()), MAKER)
    height = round(400 * 480 / 300)
    assert plain.dtype == np.uint8 and plain.shape[1:] == (480, 3)
    assert np.all(plain[: height - 1] == 128)
    # The blob sits lower left; there it is warm, in the upper right the film is untouched.
    assert warm[int(height * 0.75), int(480 * 0.25), 0] > 160 > warm[int(height * 0.75), int(480 * 0.25), 2]
    assert np.all(warm[: height // 4, 300:] == 128)
    band = plain[height:].astype(int)
    yellow = (band[..., 0] > 200) & (band[..., 2] < 80)
    assert yellow[: yellow.shape[0] // 3].sum() > 500  # the first line of the band, in warning colour


def test_a_large_film_is_shown_small_and_a_missing_one_as_a_card() -> None:
    large = overlay(reading(picture=np.zeros((3000, 2500), dtype=np.uint8)), MAKER)
    assert LONGEST_SIDE_PIXELS < large.shape[0] < LONGEST_SIDE_PIXELS * 1.4
    refused = Reading((), NOON, refusal=Refusal("unreadable", "The pixels could not be decoded."))
    assert overlay(refused, MAKER).shape[1] == 480


@pytest.mark.parametrize("area", [np.zeros((5, 5)), np.full((5, 5), np.nan), -np.ones((5, 5))])
def test_a_map_without_a_place_has_no_outline(area: Any) -> None:
    assert outline(area.astype(np.float32), 100, 100) == []


def test_outlines_stay_inside_the_film_and_short() -> None:
    rng = np.random.default_rng(1)
    area = np.clip(np.cumsum(np.cumsum(rng.normal(size=(300, 300)), axis=0), axis=1), 0, None).astype(np.float32)
    for points in outline(area, 700, 500):
        assert len(points) <= MOST_POINTS
        assert np.array_equal(points[0], points[-1])
        assert points.min() >= 1 and points[:, 0].max() <= 500 and points[:, 1].max() <= 700


def test_our_own_results_are_recognised_and_never_assessed(assessor: Assessor, tmp_path: Path) -> None:
    results = results_of(assessor, draw_film(ill=True, patient="P1"), tmp_path)
    for path in results.values():
        assert is_own_output(pydicom.dcmread(path))
        with pytest.raises(SkippedFilm, match="own-result"):
            assessor.assess(path)


@pytest.mark.parametrize("uid", [None, "", "../../etc/passwd", "1.2.x"])
def test_a_film_without_a_valid_uid_is_skipped(assessor: Assessor, tmp_path: Path, uid: str | None) -> None:
    film = draw_film(ill=True, patient="P1")
    film.SeriesInstanceUID = uid or ""
    if uid is None:
        del film.SeriesInstanceUID
    with pytest.raises(SkippedFilm, match="no-valid-uid"):
        assessor.assess(save(film, tmp_path / "film.dcm"))


def test_what_is_no_dicom_is_skipped(assessor: Assessor, tmp_path: Path) -> None:
    path = tmp_path / "film.dcm"
    for content in (b"", b"hello", b"\0" * 128 + b"DICM" + b"\xff" * 50):
        path.write_bytes(content)
        with pytest.raises(SkippedFilm):
            assessor.assess(path)


def test_outside_the_gate_nothing_is_decided_and_no_radiograph_is_refused(
    bundle: Path, pixelmed: Any, tmp_path: Path
) -> None:
    import dataclasses

    assessor = Assessor.open(bundle)

    class Judge:
        answer = "outside"

        def judge(self, features: Any, films: Any) -> list[Any]:
            from cxray.runtime.gate import Verdict

            return [Verdict(self.answer, 2.0, "The film differs from those the model was trained on.")]

    class Predictor:
        def __init__(self, real: Any, gate: Any) -> None:
            self.bundle, self.engine, self.gate = real.bundle, real.engine, gate

    judge = Judge()
    gated = dataclasses.replace(assessor, predictor=Predictor(assessor.predictor, judge))  # type: ignore[arg-type]
    path = save(draw_film(ill=True, patient="P1"), tmp_path / "film.dcm")
    film, outside = gated.assess(path)
    assert outside.outcome == outside.findings[0].presence == "undetermined"
    result = build_results(film, outside, MAKER)
    said = evaluations(result["sr"])
    assert said["ILL"] == "Undetermined"
    assert said["Comment"] == "The film differs from those the model was trained on."
    assert said["CAD Processing and Findings Summary"] == "Not all algorithms succeeded; without findings"
    pixelmed(save(result["sr"], tmp_path / "sr.dcm"))
    judge.answer = "not_radiograph"
    refused = gated.assess(path)[1]
    assert refused.refusal is not None and refused.refusal.reason == "not-radiograph"


def test_a_reading_has_findings_or_a_refusal() -> None:
    with pytest.raises(DataError, match="never both"):
        Reading((), NOON)
    with pytest.raises(DataError, match="got 'maybe'"):
        Finding("ILL", FindingCode("A", "99X", "A"), 0.5, "maybe", None)
    with pytest.raises(DataError, match=r"got 1\.5"):
        Finding("ILL", FindingCode("A", "99X", "A"), 1.5, "present", None)
    with pytest.raises(DataError, match="got 'Lateral View'"):
        Refusal("Lateral View", "x")


def blob() -> Any:
    """An activation in the lower left quarter."""
    y, x = np.mgrid[0:8, 0:8]
    return np.exp(-((y - 5.5) ** 2 + (x - 1.5) ** 2) / 3).astype(np.float32)


def reading(**changes: Any) -> Reading:
    """A reading of an ill film."""
    finding = Finding("ILL", FindingCode("ILL", "99CXRAY", "Ill"), 0.9, "present", 0.5)
    defaults: dict[str, Any] = {"picture": np.full((ROWS, COLUMNS), 100, dtype=np.uint8), "activation_of": "Ill"}
    return Reading((finding,), NOON, **{**defaults, **changes})
