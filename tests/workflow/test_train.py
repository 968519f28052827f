"""The road from films to a run: what it leaves, how it resumes, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxray import rundir
from cxray.bundle import load_bundle
from cxray.data.intake import Intake
from cxray.errors import ConfigError, DataError, LabelError, SplitError, UsageError
from cxray.model.history import read_history
from cxray.records import Predictions
from cxray.tables import read_table
from tests.conftest import draw, draw_dataset
from tests.runtime_fixtures import SETTINGS

pytest.importorskip("tensorflow", reason="needs the extra train")
from cxray.workflow.evaluate import evaluate_table
from cxray.workflow.predict import predict
from cxray.workflow.train import train


def command(films: Path, out: Path, *more: str) -> list[str]:
    arguments = ["train", films, "--out", out, "--recipe", "demo", *(f"--set={s}" for s in SETTINGS), *more]
    return [sys.executable, "-m", "cxray", *map(str, arguments)]


def wait_for(process: subprocess.Popen[str], beginning: str) -> None:
    """Read the process's stderr until a line begins so."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(beginning):
            return


def test_a_run_holds_everything_the_contract_names(tiny_run: Path) -> None:
    names = {path.relative_to(tiny_run).as_posix() for path in tiny_run.rglob("*")}
    assert {
        "manifest.json", "config.toml", "history.csv", "splits.csv", "bundle/bundle.json", "predictions/validation.csv",
        "report.html", "run.json", "samples.png", "log.txt",
    } <= names  # fmt: skip
    assert "checkpoint" not in names
    manifest = json.loads((tiny_run / "manifest.json").read_text())
    assert manifest["kind"] == "run" and "bundle/model.onnx" in manifest["files"]
    assert [epoch.epoch for epoch in read_history(tiny_run / "history.csv")] == [1, 2, 3]


def test_validation_films_carry_the_thresholds_table_and_no_test_film_was_scored(tiny_run: Path) -> None:
    validation = Predictions.read(tiny_run / "predictions" / "validation.csv")
    assert set(validation.split) == {"validation"}
    assert not (tiny_run / "predictions" / "test.csv").exists()
    bundle = json.loads((tiny_run / "bundle" / "bundle.json").read_text())
    from cxray.evaluate.screening import fingerprint

    assert bundle["thresholds"]["PNEUMONIA"]["table_sha256"] == fingerprint(validation)
    splits = read_table(tiny_run / "splits.csv")
    train_patients = set(splits["patient"][splits["split"] == "train"])
    assert not train_patients & set(splits["patient"][splits["split"] != "train"])


def test_nothing_of_the_test_films_reaches_the_model(
    tiny_run: Path, phantom_films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other test films give the same model to the last bit, and behind the gate nobody opens them."""
    from cxray.workflow import train as workflow

    films = Path(shutil.copytree(phantom_films, tmp_path / "films"))
    for number, path in enumerate(sorted((films / "test").rglob("*.png"))):
        draw(path, side=96, seed=number)
    pass_gate = workflow.pass_gate

    def pass_gate_and_lose_the_test(intake: Intake, *rest: Any) -> Any:
        passed = pass_gate(intake, *rest)
        assert passed.facts["films"] == len(intake.records)  # the gate saw them all
        shutil.rmtree(films / "test")
        return passed

    monkeypatch.setattr(workflow, "pass_gate", pass_gate_and_lose_the_test)
    run = train(films, tmp_path / "run", recipe="demo", overrides=SETTINGS)
    assert run.facts["unreadable"] == []
    ours, theirs = (Predictions.read(r / "predictions" / "validation.csv") for r in (run.folder, tiny_run))
    np.testing.assert_array_equal(ours.scores, theirs.scores)
    ours_facts, their_facts = (json.loads((r / "bundle" / "bundle.json").read_text()) for r in (run.folder, tiny_run))
    assert ours_facts["thresholds"]["PNEUMONIA"]["value"] == their_facts["thresholds"]["PNEUMONIA"]["value"]
    for part in ("golden", "calibration", "data", "metrics"):
        assert _without_hashes(ours_facts[part]) == _without_hashes(their_facts[part]), part


def _without_hashes(facts: dict[str, Any]) -> dict[str, Any]:
    """Without the table's hash, of which paths are a part, and without how long it took."""
    return {name: v for name, v in facts.items() if name not in ("table_sha256", "seconds", "films_per_second")}


def test_an_accepted_leak_stands_in_bundle_run_and_every_report(phantom_films: Path, tmp_path: Path) -> None:
    films = Path(shutil.copytree(phantom_films, tmp_path / "films"))
    source = next((films / "test" / "NORMAL").glob("*.png"))
    shutil.copy(source, films / "train" / "NORMAL" / "phantom-p9000-f0.png")
    settings = [*SETTINGS, "train.epochs=1"]
    with pytest.raises(DataError, match="--accept duplicate-across-splits"):
        train(films, tmp_path / "run", recipe="demo", overrides=settings)
    run = train(films, tmp_path / "run", recipe="demo", overrides=settings, accept=["duplicate-across-splits"])
    told = [json.loads((run.folder / name).read_text())["audit"] for name in ("run.json", "bundle/bundle.json")]
    assert [row["code"] for facts in told for row in facts["accepted"]] == ["duplicate-across-splits"] * 2
    assert "--accept=duplicate-across-splits" in run.facts["command"]
    assert "accept = [" in (run.folder / "config.toml").read_text()
    assert "Accepted risk duplicate-across-splits" in (run.folder / "report.html").read_text()
    predict(run.bundle, [films / "test"], tmp_path / "test.csv")
    judgement = evaluate_table(tmp_path / "test.csv", tmp_path / "judged")
    assert judgement.facts["audit"]["accepted"] == ["duplicate-across-splits"]
    page = (tmp_path / "judged" / "report.html").read_text()
    assert "The audit of" in page and "duplicate-across-splits" in page


def test_keras_and_the_graph_agree(tiny_run: Path, phantom_films: Path) -> None:
    import keras

    from cxray.data.prepare import as_model_input, prepare_file
    from cxray.runtime.predict import Predictor

    predictor = Predictor.open(tiny_run / "bundle", "onnxruntime")
    films = np.stack([prepare_file(path, predictor.bundle.card) for path in sorted(phantom_films.rglob("*.png"))[:40]])
    model = keras.saving.load_model(tiny_run / "bundle" / "model.keras", compile=False, safe_mode=True)
    logits = model.predict(as_model_input(films), verbose=0)["logits"]
    np.testing.assert_allclose(predictor.bundle.probabilities(logits), predictor.scores(films), atol=1e-4)


def test_a_killed_run_resumes_to_the_same_end(tiny_run: Path, phantom_films: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    with subprocess.Popen(command(phantom_films, out), stderr=subprocess.PIPE, text=True) as process:
        wait_for(process, "epoch 1 ")
        deadline = time.monotonic() + 30
        while not (out / "checkpoint" / "state.npz").is_file() and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert (out / "checkpoint" / "state.npz").is_file()
    assert not rundir.is_complete(out)
    resumed = subprocess.run(command(phantom_films, out, "--resume"), capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert "Resuming after" in resumed.stderr
    expected = Predictions.read(tiny_run / "predictions" / "validation.csv")
    np.testing.assert_array_equal(Predictions.read(out / "predictions" / "validation.csv").scores, expected.scores)
    timeless = [(e.train_loss, e.validation_loss, e.validation_auroc) for e in read_history(out / "history.csv")]
    assert timeless == [
        (e.train_loss, e.validation_loss, e.validation_auroc) for e in read_history(tiny_run / "history.csv")
    ]


def test_an_interrupt_leaves_a_usable_run(phantom_films: Path, tmp_path: Path) -> None:
    out = tmp_path / "interrupted"
    many = command(phantom_films, out, "--set=train.epochs=500")
    # A shell's background job passes an ignored Ctrl-C on to its children; this one must hear it.
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(many, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        signal.signal(signal.SIGINT, heard)
        wait_for(process, "epoch 2 ")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert rundir.is_complete(out)
    assert json.loads((out / "run.json").read_text())["interrupted"] is True
    assert Predictions.read(out / "predictions" / "validation.csv").scores.shape[1] == 2
    assert "interrupted" in output
    with pytest.raises(UsageError, match="was started with other settings"):
        train(phantom_films, out, recipe="demo", overrides=SETTINGS, resume=True)
    short = ["--set=train.epochs=500", "--set=train.patience=1", "--resume"]
    refused = subprocess.run(command(phantom_films, out, *short), capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and "other settings" in refused.stderr
    assert (out / "checkpoint" / "state.npz").is_file()


def test_resuming_needs_a_run(phantom_films: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="There is no run to resume"):
        train(phantom_films, tmp_path, recipe="demo", resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_resume_refuses_other_settings(tiny_run: Path, phantom_films: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="already finished"):
        train(phantom_films, tiny_run, recipe="demo", overrides=SETTINGS, resume=True)
    with pytest.raises(UsageError, match="already holds files"):
        train(phantom_films, tiny_run, recipe="demo")


def test_findings_are_trained_with_unknowns_masked(phantom_films: Path, tmp_path: Path) -> None:
    films = sorted((phantom_films / "train").rglob("*.png"))
    rows = [f"{p},{int('PNEUMONIA' in str(p))},{'' if n % 3 else n % 2},p{n // 2}" for n, p in enumerate(films)]
    (tmp_path / "films.csv").write_text("path,Opacity,Other,patient\n" + "\n".join(rows))
    run = train(tmp_path / "films.csv", tmp_path / "run", recipe="demo", overrides=[*SETTINGS, "train.epochs=1"])
    table = Predictions.read(run.folder / "predictions" / "validation.csv")
    assert table.is_multi_label and table.classes == ("Opacity", "Other")
    assert np.isnan(table.findings).any()  # type: ignore[arg-type]


def test_tensorboard_logs_on_request(phantom_films: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    settings = [*SETTINGS, "train.epochs=1"]
    train(phantom_films, tmp_path / "run", recipe="demo", overrides=settings, tensorboard=True)
    (events,) = (tmp_path / "run" / "tensorboard").glob("events.*")
    assert b"validation_auroc" in events.read_bytes()


def test_unreadable_films_are_left_out_and_listed(phantom_films: Path, tmp_path: Path) -> None:
    films = Path(shutil.copytree(phantom_films, tmp_path / "films"))
    (films / "train" / "NORMAL" / "broken.png").write_bytes(b"")
    (films / "train" / "NORMAL" / "note.jpeg").write_text("a note")
    run = train(films, tmp_path / "run", recipe="demo", overrides=[*SETTINGS, "train.epochs=1"])
    assert sorted(Path(path).name for path, _ in run.facts["unreadable"]) == ["broken.png", "note.jpeg"]
    assert "note.jpeg" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("prepare", "error", "message"),
    [
        (lambda p: p.mkdir(), DataError, "it is empty"),
        (lambda p: draw(p / "train" / "A" / "1.png"), SplitError, "Only one class was found: A"),
        (
            lambda p: [
                draw(p / "train" / c / f"patient-{n}-{f}.png", seed=f) for c, n in (("A", 1), ("B", 2)) for f in (1, 2)
            ],
            SplitError,
            "films of one patient only",
        ),
        (lambda p: draw(draw_dataset(p) / "test" / "NORML" / "x.png"), LabelError, "Did you mean 'NORMAL'"),
    ],
)
def test_data_that_cannot_be_learned_from(
    tmp_path: Path, prepare: object, error: type[Exception], message: str
) -> None:
    prepare(tmp_path / "data")  # type: ignore[operator]
    with pytest.raises(error, match=message):
        train(tmp_path / "data", tmp_path / "run", recipe="demo")
    assert not (tmp_path / "run").exists()


def test_settings_that_do_not_fit_are_refused_before_anything_is_written(phantom_films: Path, tmp_path: Path) -> None:
    for override, message in (
        ("model.backbone=mobilnet_1.0", "Did you mean 'mobilenet_1.0'"),
        ("decision.policy=yuden", "no threshold policy 'yuden'"),
        ("decision.positive=COVID", "which is no class"),
    ):
        with pytest.raises((ConfigError, UsageError), match=message):
            train(phantom_films, tmp_path / "run", recipe="demo", overrides=[override])
        assert not (tmp_path / "run").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_output(phantom_films: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(Exception, match="Cannot write"):
        train(phantom_films, tmp_path / "run", recipe="demo")


def test_the_bundle_says_how_far_its_threshold_holds(gated_run: Path) -> None:
    from cxray.runtime.stress import TREATMENTS

    rows = load_bundle(gated_run).facts["stress"]
    assert [row["treatment"] for row in rows] == list(TREATMENTS)
    assert all(0 <= row[rate] <= 1 for row in rows for rate in ("auroc", "sensitivity", "specificity"))
    assert json.loads((gated_run / "run.json").read_text())["stress"] == rows


def test_with_four_films_of_a_class_nothing_is_said_of_it(tiny_run: Path) -> None:
    assert load_bundle(tiny_run).facts["stress"] == []
