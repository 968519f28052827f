"""Exports: each format is written, checked, and refused when it differs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxray.errors import BundleError, UsageError
from cxray.workflow.export import SUFFIXES, export

pytest.importorskip("tensorflow", reason="needs the extra train")


@pytest.mark.parametrize("kind", sorted(SUFFIXES))
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
