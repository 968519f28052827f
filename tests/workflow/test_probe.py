"""Recipe `fast`: the whole road without TensorFlow, with the bundle's promises kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cxray.bundle import load_bundle
from cxray.data.prepare import as_model_input, prepare_file
from cxray.errors import ConfigError
from cxray.model.history import read_history
from cxray.model.weights import FILES, cache_folder
from cxray.records import Predictions
from cxray.runtime.engine import open_engine
from cxray.runtime.predict import Predictor
from cxray.workflow.train import train
from tests.contracts.test_commands import BLOCK

pytest.importorskip("h5py", reason="needs the extra fast")
REAL = cache_folder() / FILES["mobilenet_0.75"]
pytestmark = pytest.mark.skipif(not REAL.is_file(), reason=f"the ImageNet weights are not at {REAL}")
SETTINGS = ("input.height=64", "input.width=64", "split.minimum_validation_films=5")


@pytest.fixture(scope="module")
def probe_run(phantom_films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("probe") / "run"
    arguments = ["train", phantom_films, "--out", out, "--recipe", "fast", *(f"--set={s}" for s in SETTINGS)]
    command = [sys.executable, "-c", BLOCK, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    return out


def test_it_trains_where_tensorflow_cannot_be_imported_and_leaves_a_complete_run(probe_run: Path) -> None:
    names = {path.relative_to(probe_run).as_posix() for path in probe_run.rglob("*")}
    assert {"manifest.json", "history.csv", "bundle/bundle.json", "predictions/validation.csv", "report.html"} <= names
    assert "checkpoint" not in names and "bundle/model.keras" not in names
    facts = json.loads((probe_run / "bundle" / "bundle.json").read_text())
    assert (facts["head"], facts["weights"], facts["calibration"]["method"]) == (
        "pooled_linear",
        "imagenet",
        "temperature",
    )
    assert "tensorflow" not in facts["versions"]
    assert {epoch.stage for epoch in read_history(probe_run / "history.csv")} == {"linear probe"}


def test_logits_are_linear_in_the_pooled_map(probe_run: Path, phantom_films: Path) -> None:
    bundle = load_bundle(probe_run)
    films = [prepare_file(path, bundle.card) for path in sorted(phantom_films.rglob("*.png"))[:9]]
    answers = open_engine(bundle.graph, "onnxruntime").run(as_model_input(np.stack(films)))
    np.testing.assert_allclose(answers["feature_map"].mean(axis=(1, 2)), answers["features"], atol=1e-4)
    centred = answers["features"] - answers["features"].mean(axis=0)
    weights, *_ = np.linalg.lstsq(centred, answers["logits"] - answers["logits"].mean(axis=0), rcond=None)
    np.testing.assert_allclose(centred @ weights, answers["logits"] - answers["logits"].mean(axis=0), atol=1e-3)


def test_validation_scores_are_those_of_the_bundle_and_tell_the_classes_apart(probe_run: Path) -> None:
    table = Predictions.read(probe_run / "predictions" / "validation.csv")
    predictor = Predictor.open(probe_run, "onnxruntime")
    alone = predictor.scores(prepare_file(Path(table.path[3]), predictor.bundle.card)[None])[0]
    np.testing.assert_allclose(table.scores[3], alone, atol=1e-5)
    positive = table.scores[:, 1]
    assert positive[table.label == "PNEUMONIA"].mean() > positive[table.label == "NORMAL"].mean() + 0.2


def test_it_may_be_started_again_after_a_kill_and_gives_the_same_scores(
    probe_run: Path, phantom_films: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "cxray", "train", str(phantom_films), "--out", str(out), "--recipe", "fast"]
    command += [f"--set={s}" for s in SETTINGS]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("penalty 1:"):
                break
        process.kill()
    assert not (out / "manifest.json").exists()
    resumed = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    expected = Predictions.read(probe_run / "predictions" / "validation.csv").scores
    np.testing.assert_allclose(Predictions.read(out / "predictions" / "validation.csv").scores, expected, atol=1e-6)


def test_findings_are_probed_with_unknowns_masked(phantom_films: Path, tmp_path: Path) -> None:
    films = sorted((phantom_films / "train").rglob("*.png"))
    rows = [f"{p},{int('PNEUMONIA' in str(p))},{'' if n % 3 else n % 2},p{n // 2}" for n, p in enumerate(films)]
    (tmp_path / "films.csv").write_text("path,Opacity,Other,patient\n" + "\n".join(rows))
    run = train(tmp_path / "films.csv", tmp_path / "run", recipe="fast", overrides=SETTINGS)
    table = Predictions.read(run.folder / "predictions" / "validation.csv")
    assert table.is_multi_label and table.classes == ("Opacity", "Other")
    assert not np.isnan(table.scores).any()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.backbone=resnet_50", "needs one of mobilenet_0.25"),
        ("input.width=225", "input.width to be a multiple of 32, not 225"),
        ("model.weights=none", "random weights learns next to nothing"),
        ("train.method=gradent", "'gradient' or 'linear_probe'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(phantom_films: Path, tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train(phantom_films, tmp_path / "run", recipe="fast", overrides=[override])
    assert not (tmp_path / "run").exists()
