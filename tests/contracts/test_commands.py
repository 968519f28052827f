"""Every command has help with an example, and the base runs where TensorFlow cannot be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import cxray
from cxray.cli import COMMANDS, cli
from tests.conftest import draw

# Importing any of these raises, as if they were not installed.
BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "tf2onnx", "torch", "jax"):
            raise ImportError(f"{name} is not installed here")
sys.meta_path.insert(0, Block())
from cxray.cli import main
main(sys.argv[1:])
"""


def run_without_tensorflow(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCK, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_with_an_example(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert f"cxray {name}" in result.output.partition("Example:")[2]


def test_the_overview_lists_every_command_and_needs_no_heavy_import() -> None:
    script = (
        "import sys; sys.argv=['cxray','--help']\nfrom cxray.cli import main\ntry: main()\nexcept SystemExit: pass\n"
    )
    heavy = {"numpy", "pyarrow", "sklearn", "scipy", "matplotlib", "tensorflow", "onnxruntime"}
    script += f"print(sorted(set(sys.modules) & {heavy}))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert all(name in result.stdout for name in COMMANDS)
    assert result.stdout.splitlines()[-1] == "[]"


def test_the_command_line_and_python_have_the_same_names() -> None:
    for name in ("audit", "train", "predict", "evaluate", "export", "demo"):
        assert name in COMMANDS
        assert name in cxray.__all__
    for name in cxray.__all__:
        assert getattr(cxray, name) is not None
    assert list(cxray.__all__) == sorted(cxray.__all__)


def test_predict_and_evaluate_run_without_tensorflow(tiny_run: Path, phantom_films: Path, tmp_path: Path) -> None:
    table, judged = tmp_path / "test.csv", tmp_path / "judged"
    predicted = run_without_tensorflow("predict", tiny_run / "bundle", phantom_films / "test", "--out", table)
    assert predicted.returncode == 0, predicted.stderr
    assert "films scored" in predicted.stdout
    evaluated = run_without_tensorflow("evaluate", table, "--out", judged)
    assert evaluated.returncode == 0, evaluated.stderr
    assert (judged / "report.html").is_file() and (judged / "evaluation.json").is_file()


def test_audit_and_onnx_export_run_without_tensorflow(tiny_run: Path, phantom_films: Path, tmp_path: Path) -> None:
    assert run_without_tensorflow("audit", phantom_films, "--out", tmp_path / "audit").returncode == 0
    target = tmp_path / "copy.onnx"
    assert run_without_tensorflow("export", tiny_run, "--format", "onnx", "--out", target).returncode == 0


def test_without_the_dicom_libraries_other_films_are_scored_and_dicom_rows_say_what_to_install(
    tiny_run: Path, tmp_path: Path
) -> None:
    films = tmp_path / "films"
    draw(films / "a.png", side=96)
    (films / "b.dcm").write_bytes(bytes(128) + b"DICM" + bytes(500))
    blocked = BLOCK.replace('"tensorflow",', '"pydicom", "imagecodecs", "pylibjpeg", "tensorflow",')
    command = [sys.executable, "-c", blocked, "predict", str(tiny_run / "bundle"), str(films), "--out"]
    result = subprocess.run(
        [*command, str(tmp_path / "t.csv")], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 8, result.stderr
    assert "pip install '.[dicom]'" in (tmp_path / "t.csv").read_text()
    assert "2 films scored, 1 of them without a result" in result.stdout


def test_training_without_tensorflow_names_the_feature_and_the_command(phantom_films: Path, tmp_path: Path) -> None:
    result = run_without_tensorflow("train", phantom_films, "--out", tmp_path / "run")
    assert result.returncode == 6
    assert "Training needs keras" in result.stderr
    assert "pip install '.[train]'" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_errors_are_sentences_with_a_next_step_and_a_code(tmp_path: Path) -> None:
    draw(tmp_path / "film.png")
    for arguments, code, words in (
        (["predict", tmp_path, tmp_path / "film.png", "--out", tmp_path / "p.csv"], 2, "There is no bundle at"),
        (["evaluate", tmp_path / "none.csv", "--out", tmp_path / "j"], 3, "There is no table at"),
        (["audit", tmp_path / "none", "--out", tmp_path / "a"], 3, "no folder"),
        (["train", tmp_path, "--out", tmp_path / "r", "--set", "train.epoch=1"], 2, "Did you mean 'epochs'"),
        (["frobnicate"], 2, "No such command"),
    ):
        result = run_without_tensorflow(*arguments)
        assert result.returncode == code, result.stderr
        assert words in result.stderr
        assert "Traceback" not in result.stderr
