"""`cxray predict` and `cxray evaluate` as a person types them, with inputs that people really have."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cxray.cli import cli
from cxray.errors import CxrayError
from cxray.records import Predictions
from cxray.runtime.rows import journal_of
from cxray.tables import read_table
from tests.conftest import draw


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_one_row_a_film_with_label_split_and_patient(tiny_run: Path, phantom_films: Path, tmp_path: Path) -> None:
    out = tmp_path / "test.csv"
    result = run("predict", tiny_run, phantom_films / "test", "--out", out)
    assert result.exit_code == 0, result.output
    assert list(read_table(out)) == [
        "path", "patient", "split", "label", "score_NORMAL", "score_PNEUMONIA",
        "predicted", "decision", "gate", "error", "model", "training_audit", "threshold", "facts",
    ]  # fmt: skip
    table = Predictions.read(out)
    assert len(table) == len(list((phantom_films / "test").rglob("*.png")))
    assert set(table.split) == {"test"} and set(table.label) == {"NORMAL", "PNEUMONIA"}
    assert all(patient.startswith("phantom-p") for patient in table.patient)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_splits_of_a_run_are_inputs_too(tiny_run: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"test{suffix}"
    assert run("predict", tiny_run, tiny_run / "splits.csv", "--split", "test", "--out", out).exit_code == 0
    assert set(Predictions.read(out).split) == {"test"}


def test_unreadable_films_have_rows_and_the_exit_code_says_so(tiny_run: Path, tmp_path: Path) -> None:
    films = tmp_path / "films and more"
    draw(films / "gut – ä.png", seed=1)
    (films / "empty.png").write_bytes(b"")
    (films / "note.jpeg").write_text("a note")
    draw(films / "dot.png", side=1)
    (films / "README.txt").write_text("about")
    result = run("predict", tiny_run, films, "--out", tmp_path / "p.csv")
    assert isinstance(result.exception, CxrayError) and result.exception.exit_code == 8
    assert "3 of 4 films have no result" in result.exception.message
    table = Predictions.read(tmp_path / "p.csv")
    assert {Path(path).name: bool(error) for path, error in zip(table.path, table.error, strict=True)} == {
        "gut – ä.png": False,
        "empty.png": True,
        "note.jpeg": True,
        "dot.png": True,
    }


def test_a_batch_from_elsewhere_is_called_so(gated_run: Path, phantom_films: Path, tmp_path: Path) -> None:
    usual = run("predict", gated_run, phantom_films, "--out", tmp_path / "usual.csv")
    assert "unlike the training films" not in usual.output
    noise = np.random.default_rng(1).integers(0, 256, (25, 64, 64), dtype=np.uint8)
    for number, pixels in enumerate(noise):
        (tmp_path / "noise").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "noise" / f"{number}.png")
    strange = run("predict", gated_run, tmp_path / "noise", "--out", tmp_path / "strange.csv")
    assert "Beware: 25 of 25 films are unlike the training films" in strange.output
    told = json.loads(run("predict", gated_run, tmp_path / "noise", "--out", tmp_path / "again.csv", "--json").output)
    assert told["drift"]["alarm"] is True and told["drift"]["flagged"] == 25


def test_input_columns_called_like_ours_are_kept_under_another_name(tiny_run: Path, tmp_path: Path) -> None:
    draw(tmp_path / "a.png", seed=1)
    (tmp_path / "films.csv").write_text("path,model,sex\na.png,DX-9000,1\n")
    assert run("predict", tiny_run, tmp_path / "films.csv", "--out", tmp_path / "p.csv").exit_code == 0
    table = read_table(tmp_path / "p.csv")
    assert (table["input_model"][0], table["sex"][0]) == ("DX-9000", "1")


def test_the_judge_uses_the_decisions_that_were_frozen(tiny_run: Path, phantom_films: Path, tmp_path: Path) -> None:
    run("predict", tiny_run, phantom_films / "test", "--out", tmp_path / "test.csv")
    result = run("evaluate", tmp_path / "test.csv", "--out", tmp_path / "judged", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "judged" / "evaluation.json").read_text())
    bundle = json.loads((tiny_run / "bundle" / "bundle.json").read_text())
    assert document["schema"] == 1
    assert document["facts"]["threshold"]["value"] == pytest.approx(bundle["thresholds"]["PNEUMONIA"]["value"])
    names = {record["name"] for record in document["records"]}
    assert {"auroc", "sensitivity", "specificity", "ppv", "npv", "accuracy", "brier", "net_benefit"} <= names
    assert {
        "name",
        "label",
        "slice",
        "value",
        "low",
        "high",
        "level",
        "method",
        "n_images",
        "n_patients",
        "withheld",
    } <= set(document["records"][0])
    assert (tmp_path / "judged" / "report.html").is_file()


def test_choosing_a_threshold_on_test_films_is_refused(tiny_run: Path, phantom_films: Path, tmp_path: Path) -> None:
    table = tmp_path / "test.csv"
    run("predict", tiny_run, phantom_films / "test", "--out", table)
    result = run("evaluate", table, "--validation", table, "--out", tmp_path / "judged")
    assert isinstance(result.exception, CxrayError) and result.exception.exit_code == 7
    assert not (tmp_path / "judged").exists()


def test_a_killed_prediction_goes_on_behind_its_last_row(tiny_run: Path, tmp_path: Path) -> None:
    film = draw(tmp_path / "film.png", seed=1, side=70)
    films, out = tmp_path / "films", tmp_path / "p.csv"
    films.mkdir()
    for number in range(3000):
        (films / f"{number:04d}.png").hardlink_to(film)
    command = [sys.executable, "-m", "cxray", "predict", str(tiny_run), str(films), "--out", str(out)]
    journal = journal_of(out)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (journal.exists() and journal.stat().st_size > 20_000):
            time.sleep(0.002)
        process.kill()
    assert journal.exists() and not out.exists()
    resumed = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    done = int(resumed.stderr.partition("Resuming: ")[2].partition(" of 3000 films are done")[0])
    assert 64 <= done < 3000
    table = Predictions.read(out)
    assert table.path.tolist() == [str(path) for path in sorted(films.iterdir())]
    assert np.ptp(table.scores[:, 0]) < 1e-6
    again = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert again.returncode == 2 and "nothing to resume" in again.stderr


def test_fewer_bits_are_compared_first(
    tiny_run: Path, phantom_films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino", reason="needs the extra openvino")
    monkeypatch.setattr("cxray.runtime.predict.REDUCED_TOLERANCE", 1.0)
    monkeypatch.setattr("cxray.workflow.predict.LARGEST_SHIFT", 1.0)
    arguments = ["predict", tiny_run, phantom_films / "test", "--precision", "bfloat16", "--out", tmp_path / "p.csv"]
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert "In bfloat16 the probabilities of the first" in result.stderr
    monkeypatch.setattr("cxray.workflow.predict.LARGEST_SHIFT", -1.0)
    refused = run(*arguments, "--engine", "openvino")
    assert isinstance(refused.exception, CxrayError) and "-1 is accepted" in refused.exception.message


def test_comparing_two_tables(tiny_run: Path, phantom_films: Path, tmp_path: Path) -> None:
    table = tmp_path / "one.csv"
    run("predict", tiny_run, phantom_films / "test", "--out", table)
    shutil.copy(table, tmp_path / "two.csv")
    result = run("compare", table, f"other={tmp_path / 'two.csv'}", "--out", tmp_path / "compared")
    assert result.exit_code == 0, result.output
    assert "auroc_difference" in result.output and "other" in result.output
    assert (tmp_path / "compared" / "comparison.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{films}", "--out", "p.txt"], 2, "must end in .csv or .parquet"),
        (["{films}", "--out", "{films}/blocked/p.csv"], 5, "Cannot write"),
        (["nowhere.png", "--out", "{out}"], 3, "There is nothing at"),
        (["{films}", "--split", "test", "--out", "{out}"], 3, "None of the 1 films belongs to the split 'test'"),
    ],
)
def test_calls_that_cannot_be_meant(
    tiny_run: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    films = tmp_path / "films"
    draw(films / "a.png")
    (films / "blocked").write_text("a file where a folder is needed")
    filled = [argument.format(films=films, out=tmp_path / "p.csv") for argument in arguments]
    result = run("predict", tiny_run, *filled)
    assert isinstance(result.exception, CxrayError), result.output
    assert result.exception.exit_code == code
    assert message in str(result.exception)
    assert not (tmp_path / "p.csv").exists()
