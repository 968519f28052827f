"""`cxray adapt` on a real small bundle: the new bundle is whole, and the report comes from unseen patients."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxray.bundle import load_bundle
from cxray.errors import DataError, UsageError
from cxray.records import Predictions
from cxray.runtime.gate import Gate
from cxray.runtime.predict import Predictor
from cxray.workflow.adapt import adapt


@pytest.fixture(scope="module")
def hospital(phantom_films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training films as another hospital would export them: darker and flatter."""
    folder = tmp_path_factory.mktemp("hospital")
    for path in sorted((phantom_films / "train").rglob("*.*")):
        target = folder / path.parent.name / path.name
        target.parent.mkdir(exist_ok=True)
        dark = np.asarray(Image.open(path).convert("L")) * 0.5 + 20
        Image.fromarray(dark.astype(np.uint8)).save(target.with_suffix(".png"))
    return folder


@pytest.fixture(scope="module")
def adapted(tiny_run: Path, hospital: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("adapted") / "out"
    adapt(tiny_run / "bundle", hospital, out)
    return out


def test_the_new_bundle_is_whole_and_says_where_it_comes_from(adapted: Path, tiny_run: Path) -> None:
    predictor = Predictor.open(adapted / "bundle")
    facts = predictor.bundle.facts
    assert facts["adapted"]["from"] == load_bundle(tiny_run).identifier
    assert facts["adapted"]["method"] in ("threshold", "recalibrate", "head")
    assert facts["thresholds"]["PNEUMONIA"]["split"] == "validation"
    assert "metrics" not in facts


def test_out_of_fold_loss_of_the_chosen_method_is_the_smallest(adapted: Path) -> None:
    losses = load_bundle(adapted / "bundle").facts["adapted"]
    assert losses["log_loss_out_of_fold"][losses["method"]] == min(losses["log_loss_out_of_fold"].values())


def test_out_of_fold_tables_and_comparison_are_written(adapted: Path, hospital: Path) -> None:
    films = len(list(hospital.rglob("*.png")))
    for method in ("as_is", "threshold", "recalibrate", "head"):
        table = Predictions.read(adapted / "predictions" / f"{method}.csv")
        assert len(table) == films
        assert set(table.decision) <= {"NORMAL", "PNEUMONIA"}
    assert json.loads((adapted / "comparison.json").read_text())["records"]
    assert (adapted / "report.html").stat().st_size > 1000


def test_the_adapted_gate_takes_local_films_for_its_own(adapted: Path, hospital: Path) -> None:
    predictor = Predictor.open(adapted / "bundle")
    gate = Gate.of(predictor.bundle)
    with np.load(predictor.bundle.folder / "reference.npz", allow_pickle=False) as reference:
        assert gate is not None
        assert gate.n_calibration == len(list(hospital.rglob("*.png")))
        assert len(reference["features"]) > 0


def test_a_head_by_order_changes_the_graph_and_keeps_the_features(
    tiny_run: Path, hospital: Path, tmp_path: Path
) -> None:
    adapt(tiny_run / "bundle", hospital, tmp_path / "out", method="head")
    films = np.random.default_rng(0).random((3, 64, 64, 1), dtype=np.float32)
    before = Predictor.open(tiny_run, "onnxruntime").engine.run(films)
    after = Predictor.open(tmp_path / "out" / "bundle", "onnxruntime").engine.run(films)
    np.testing.assert_allclose(after["features"], before["features"], atol=1e-6)
    assert np.abs(after["logits"] - before["logits"]).max() > 1e-3


def test_a_threshold_by_order_keeps_the_graph(tiny_run: Path, hospital: Path, tmp_path: Path) -> None:
    done = adapt(tiny_run / "bundle", hospital, tmp_path / "out", method="threshold")
    assert load_bundle(done.bundle).identifier == load_bundle(tiny_run).identifier


def test_too_few_patients_are_refused_before_anything_is_written(
    tiny_run: Path, hospital: Path, tmp_path: Path
) -> None:
    for kind in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "few" / kind).mkdir(parents=True)
        for path in sorted((hospital / kind).iterdir())[:3]:
            (tmp_path / "few" / kind / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="at least 10 patients"):
        adapt(tiny_run, tmp_path / "few", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_classes_that_the_model_does_not_know_are_refused(tiny_run: Path, hospital: Path, tmp_path: Path) -> None:
    for old, new in (("NORMAL", "NORMAL"), ("PNEUMONIA", "EFFUSION")):
        (tmp_path / "other").mkdir(exist_ok=True)
        (tmp_path / "other" / new).symlink_to(hospital / old)
    with pytest.raises(DataError, match="EFFUSION"):
        adapt(tiny_run, tmp_path / "other", tmp_path / "out")


def test_an_unknown_method_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no method 'magic'"):
        adapt(tiny_run, tmp_path, tmp_path / "out", method="magic")
