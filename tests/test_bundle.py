"""The bundle: whole or refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cxray.bundle import Bundle, load_bundle
from cxray.config import InputCard
from cxray.errors import BundleError, UsageError
from cxray.evaluate.thresholds import Threshold


@pytest.fixture
def copy(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run / "bundle", tmp_path / "bundle"))


def test_a_bundle_says_everything_a_user_of_the_graph_must_know(tiny_run: Path) -> None:
    bundle = load_bundle(tiny_run / "bundle")
    assert bundle.classes == ("NORMAL", "PNEUMONIA")
    assert bundle.positive == "PNEUMONIA"
    assert bundle.card == InputCard(64, 64)
    threshold = bundle.thresholds["PNEUMONIA"]
    assert threshold.split == "validation" and len(threshold.table_sha256) == 64
    facts = bundle.facts
    assert facts["calibration"]["method"] == "temperature"
    assert {"cxray", "keras", "tensorflow", "numpy"} <= set(facts["versions"])
    assert facts["data"]["films"]["train"] > 0 and len(facts["data"]["fingerprint"]) == 64
    assert "Not a medical device" in facts["intended_use"]
    assert facts["parity"]["largest_difference"] <= 1e-4


def test_a_run_folder_is_taken_for_its_bundle(tiny_run: Path) -> None:
    assert load_bundle(tiny_run).folder == tiny_run / "bundle"


def test_there_is_no_pickle_and_no_training_film_in_a_bundle(tiny_run: Path) -> None:
    names = {path.name for path in (tiny_run / "bundle").iterdir()}
    assert names == {"bundle.json", "golden.png", "model.keras", "model.onnx", "reference.npz"}
    with np.load(tiny_run / "bundle" / "reference.npz", allow_pickle=False) as reference:
        assert set(reference) == {"features", "label", "film"}
        assert reference["features"].ndim == 2  # a vector a film, from which no film can be drawn


@pytest.mark.parametrize("name", ["model.onnx", "golden.png"])
def test_a_changed_or_missing_file_is_named(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleError, match=f"{name} is not the file that the bundle was closed with"):
        load_bundle(copy)
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"lacks {name}"):
        load_bundle(copy)


def test_damaged_newer_and_escaping_descriptions(copy: Path) -> None:
    facts = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps({**facts, "schema": 99}))
    with pytest.raises(BundleError, match="made by a newer cxray"):
        load_bundle(copy)
    (copy / "bundle.json").write_text(json.dumps({**facts, "files": {**facts["files"], "../../etc/passwd": "0"}}))
    with pytest.raises(BundleError, match="lacks"):
        load_bundle(copy)
    (copy / "bundle.json").write_text("{")
    with pytest.raises(BundleError, match="is damaged"):
        load_bundle(copy)


def test_bundles_from_before_equalising_take_films_as_they_are(copy: Path) -> None:
    facts = json.loads((copy / "bundle.json").read_text())
    del facts["input"]["intensity"]
    (copy / "bundle.json").write_text(json.dumps(facts))
    assert load_bundle(copy).card.intensity == "as_is"
    del facts["input"]["fit"]
    (copy / "bundle.json").write_text(json.dumps(facts))
    with pytest.raises(BundleError):
        load_bundle(copy)


def test_a_folder_without_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no bundle at"):
        load_bundle(tmp_path)


def bundle_of(task: str, classes: tuple[str, ...], positive: str, **values: float) -> Bundle:
    points = {name: Threshold(value, "youden", "validation", "0" * 64) for name, value in values.items()}
    return Bundle(Path(), task, classes, positive, InputCard(), points, {})


@pytest.mark.parametrize(
    ("bundle", "scores", "decision"),
    [
        (bundle_of("classes", ("A", "B"), "B", B=0.9), [0.2, 0.8], "A"),
        (bundle_of("classes", ("A", "B"), "B", B=0.9), [0.1, 0.9], "B"),
        (bundle_of("classes", ("A", "B", "C"), "B", B=0.2), [0.5, 0.2, 0.3], "B"),
        (bundle_of("classes", ("A", "B", "C"), "B", B=0.3), [0.3, 0.2, 0.5], "C"),
        (bundle_of("classes", ("A", "B", "C"), ""), [0.3, 0.2, 0.5], "C"),
        (bundle_of("findings", ("A", "B"), "", A=0.5, B=0.1), [0.6, 0.1], "A|B"),
        (bundle_of("findings", ("A", "B"), "", A=0.5), [0.4, 0.9], ""),
        (bundle_of("classes", ("A", "B"), "B", B=0.9), [np.nan, np.nan], ""),
    ],
)
def test_decisions(bundle: Bundle, scores: list[float], decision: str) -> None:
    assert bundle.decide(np.array([scores])) == [decision]


def test_probabilities_are_softmax_or_sigmoid() -> None:
    logits = np.array([[0.0, np.log(3)], [1000.0, -1000.0]])
    classes = bundle_of("classes", ("A", "B"), "").probabilities(logits)
    np.testing.assert_allclose(classes, [[0.25, 0.75], [1, 0]])
    findings = bundle_of("findings", ("A", "B"), "").probabilities(logits)
    np.testing.assert_allclose(findings, [[0.5, 0.75], [1, 0]])
