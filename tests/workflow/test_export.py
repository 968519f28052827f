"""Exports: each format is written, checked, and refused when it differs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from cxray.cli import cli
from cxray.errors import BundleError, DataError, UsageError
from cxray.runtime.engine import open_engine
from cxray.workflow.export import SUFFIXES, export
from tests.conftest import draw

pytest.importorskip("tensorflow", reason="needs the extra train")


@pytest.mark.parametrize("kind", sorted(set(SUFFIXES) - {"onnx-int8"}))
def test_each_format_agrees_with_the_bundle(tiny_run: Path, tmp_path: Path, kind: str) -> None:
    if kind == "openvino":
        pytest.importorskip("openvino", reason="needs the extra openvino")
    target = tmp_path / f"m{SUFFIXES[kind]}"
    facts = export(tiny_run / "bundle", kind, target)
    assert target.is_file()
    assert facts["largest_difference"] <= 1e-4
    assert facts["films"] > 3
    assert facts["bytes"] > 50_000
    assert not list(tmp_path.glob(".*.part*"))


def test_int8_is_smaller_and_says_what_it_costs(tiny_run: Path, phantom_films: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        cli,
        [
            "export",
            str(tiny_run),
            "--format",
            "onnx-int8",
            "--films",
            str(phantom_films),
            "--out",
            str(tmp_path / "m.onnx"),
        ],
    )
    assert result.exit_code == 0, result.output
    assert "probabilities moved by" in result.output and "in int8" in result.output
    facts = export(tiny_run, "onnx-int8", tmp_path / "again.onnx", phantom_films)
    assert facts["bytes"] < 0.6 * (tiny_run / "bundle" / "model.onnx").stat().st_size
    assert 0 < facts["mean_difference"] <= facts["largest_difference"] < 0.2
    assert 0 <= facts["auroc"] <= 1 and 0 <= facts["auroc_int8"] <= 1
    int8 = {n.op_type for n in onnx.load(str(tmp_path / "again.onnx")).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= int8
    answers = open_engine(tmp_path / "again.onnx", "onnxruntime").run(np.zeros((2, 64, 64, 1), np.float32))
    assert set(answers) == {"logits", "features", "feature_map"}


def test_int8_needs_films(tiny_run: Path, tmp_path: Path) -> None:
    draw(tmp_path / "films" / "a.png", seed=1)
    with pytest.raises(DataError, match="at least 20 readable films like those to be scored.*1 were found"):
        export(tiny_run, "onnx-int8", tmp_path / "m.onnx", tmp_path / "films")
    assert not (tmp_path / "m.onnx").exists()


def test_an_export_that_differs_is_refused_and_removed(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cxray.model import export as module

    def wrong(model: object, path: Path) -> object:
        path.write_bytes(b"wrong")
        return lambda batch: np.full((len(batch), 2), [0.0, 3.0], np.float32)

    monkeypatch.setitem(module._WRITERS, "keras", wrong)
    with pytest.raises(BundleError, match=r"differs from the network by .* in probability; at most 0.0001"):
        export(tiny_run / "bundle", "keras", tmp_path / "m.keras")
    assert not (tmp_path / "m.keras").exists()


def test_an_existing_file_is_never_touched(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "m.xml").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        export(tiny_run, "openvino", tmp_path / "m.xml")
    assert (tmp_path / "m.xml").read_text() == "mine"


def test_formats_and_names_that_cannot_be_meant(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no format 'coreml'"):
        export(tiny_run, "coreml", tmp_path / "m.mlmodel")
    with pytest.raises(UsageError, match=r"should end in \.tflite for litert"):
        export(tiny_run, "litert", tmp_path / "m.onnx")
