"""DICOM folders through every command as people type them, and no word of a patient in anything that is left behind."""

from __future__ import annotations

import dataclasses
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxray.data.dicom import headers, read_dicom
from cxray.data.intake import read_inputs
from cxray.errors import UnreadableImage
from cxray.records import Predictions
from cxray.runtime.predict import Predictor
from tests.data.dicom.films import PLANTED_WORDS, bytes_of, chest, film, plant_deep, planted, save


@dataclasses.dataclass(frozen=True)
class World:
    """A private place to work in: DICOM twins of the synthetic films, temporary files, cache, results, transcript."""

    data: Path
    place: Path
    transcript: list[str]

    def begin(self, *arguments: object) -> subprocess.Popen[str]:
        """Start one command in a process of its own, with every warning and log line let through."""
        environment = {
            **os.environ, "TMPDIR": str(self.place / "tmp"), "CXRAY_CACHE": str(self.place / "cache"),
            "CXRAY_KEY": str(self.place.parent / "key"), "CXRAY_DICOM_ACCEPT": "too-small",
            "CXRAY_STATE": str(self.place / "state"), "PYTHONWARNINGS": "always",
        }  # fmt: skip
        script = "import logging, sys; logging.basicConfig(level=1); from cxray.cli import main; main(sys.argv[1:])"
        command = [sys.executable, "-c", script, *map(str, arguments)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, env=environment)

    def end(self, process: subprocess.Popen[str], code: int = 0) -> None:
        """Wait for a command and keep what it said."""
        said = process.communicate(timeout=300)
        self.transcript.append("".join(said))
        assert process.returncode == code, said[1][-2000:]

    def run(self, *arguments: object, code: int = 0) -> None:
        """One command from its start to its end."""
        self.end(self.begin(*arguments), code)

    def leaks(self) -> list[tuple[str, str]]:
        """Planted words found in what was said or left behind, with the place."""
        words = [word.lower().encode() for word in PLANTED_WORDS]
        texts = [("transcript", text.encode()) for text in self.transcript]
        texts += [(str(path), path.read_bytes()) for path in self.place.rglob("*") if path.is_file()]
        return [(where, word.decode()) for where, text in texts for word in words if word in text.lower()]


@pytest.fixture(scope="module")
def world(phantom_films: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    base = tmp_path_factory.mktemp("dicom")
    for source in sorted(phantom_films.rglob("*.png")):
        with Image.open(source) as image:
            pixels = np.asarray(image.convert("L"))
        patient = "QX-7741-ZW " + source.stem.rpartition("-f")[0]
        dataset = film(pixels, bits=8, **{**planted(), "PatientID": patient})
        plant_deep(dataset)
        save(dataset, base / "data" / source.relative_to(phantom_films).with_suffix(".dcm"))
    (base / "work" / "tmp").mkdir(parents=True)
    return World(base / "data", base / "work", [])


def test_audit_predict_evaluate_and_train_leave_no_word_of_a_patient(world: World, tiny_run: Path) -> None:
    broken = world.data / "test" / "NORMAL" / "broken.dcm"
    whole = next((world.data / "test" / "NORMAL").glob("*.dcm")).read_bytes()
    broken.write_bytes(whole[:-4000])
    settings = ("input.height=64", "input.width=64", "train.epochs=1", "split.minimum_validation_films=5")
    options = [part for setting in settings for part in ("--set", setting)]
    training = world.begin("train", world.data, "--out", world.place / "run", "--recipe", "demo", *options)
    try:
        world.run("audit", world.data, "--out", world.place / "audit")
        world.run("predict", tiny_run / "bundle", world.data / "test", "--out", world.place / "test.csv", code=8)
        world.run("evaluate", world.place / "test.csv", "--out", world.place / "judged")
        world.run("deidentify", world.data, "--out", world.place / "released", code=8)
    finally:
        world.end(training)
    assert world.leaks() == []
    written = [path for path in world.place.rglob("*") if path.is_file()]
    assert len(written) > 50 and any(path.suffix == ".html" for path in written)
    table = Predictions.read(world.place / "test.csv")
    assert (table.error != "").sum() == 1
    assert all(patient.startswith(("patient:", "film:")) for patient in table.patient)


def test_the_search_for_leaks_would_find_one(world: World) -> None:
    planted_file = world.place / "left.txt"
    planted_file.write_text("about zwetschgenmann")
    try:
        assert world.leaks() == [(str(planted_file), "zwetschgenmann")]
    finally:
        planted_file.unlink()


def test_dicom_films_and_their_exports_get_the_same_probability(
    world: World, tiny_run: Path, phantom_films: Path
) -> None:
    beside = world.begin("predict", tiny_run / "bundle", phantom_films / "train", "--out", world.place / "png.csv")
    try:
        world.run("predict", tiny_run / "bundle", world.data / "train", "--out", world.place / "dicom.csv")
    finally:
        world.end(beside)
    ours, theirs = (Predictions.read(world.place / f"{kind}.csv") for kind in ("dicom", "png"))
    assert [Path(path).stem for path in ours.path] == [Path(path).stem for path in theirs.path]
    np.testing.assert_array_equal(ours.scores, theirs.scores)
    assert list(ours.label) == list(theirs.label)
    said = set(ours.metadata["facts"])
    assert said == {"accepted although too-small"}, "the liberty that was taken with every DICOM film"
    assert set(theirs.metadata["facts"]) == {""}, "and with no picture"


def test_a_sixteen_bit_export_gets_the_probability_of_its_dicom_film(tiny_run: Path, tmp_path: Path) -> None:
    predictor = Predictor.open(tiny_run / "bundle")
    for bits, tolerance in ((16, 0.0), (12, 1e-3), (10, 1e-3)):
        elements = {"WindowCenter": str(2 ** (bits - 1)), "WindowWidth": str(2**bits)} if bits < 16 else {}
        stored = film(chest(bits=bits), bits=bits, PhotometricInterpretation="MONOCHROME1", **elements)
        path = save(stored, tmp_path / f"{bits}.dcm")
        export = np.rint(read_dicom(path).pixels * 65535).astype(np.uint16)
        Image.fromarray(export).save(tmp_path / f"{bits}.png")
        table = predictor.predict(read_inputs([path, tmp_path / f"{bits}.png"]).records)
        assert np.abs(table.scores[0] - table.scores[1]).max() <= tolerance


def test_parsers_say_nothing_about_values_they_dislike(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    # pydicom's own reader quotes each of these values in a warning or a log line.
    elements = {"PatientBirthDate": "19600101", "PatientAge": "060Y"}
    elements |= {"WindowCenter": "1.234567", "WindowWidth": "7.654321"}
    content = bytes_of(film(chest(), **elements))
    content = content.replace(b"1.234567", b"Quirinus").replace(b"7.654321", b"Quirinus").replace(b"060Y", b"Quir")
    content = content.replace(b"19600101", b"Quirinus").replace(b"ISO_IR 192", b"Quirinus\0\0")
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings():
        warnings.simplefilter("always")
        read_dicom(content)
        assert headers(content, with_patient=True).patient is not None
        for cut in range(200, len(content), 5000):
            with pytest.raises(UnreadableImage) as refused:
                read_dicom(content[:cut])
            assert "uirinus" not in str(refused.value)
    out, err = capfd.readouterr()
    assert "uirinus" not in out + err + caplog.text
