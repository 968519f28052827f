"""`cxray export`: a bundle's network in another format, checked against the original before it counts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray import extras, progress
from cxray.bundle import GOLDEN, Bundle, load_bundle
from cxray.data.decode import decode_file
from cxray.data.intake import read_inputs
from cxray.data.prepare import prepare, prepare_file
from cxray.errors import UnreadableImage, UsageError
from cxray.rundir import atomic_path

SUFFIXES = {"onnx": ".onnx", "keras": ".keras", "openvino": ".xml", "litert": ".tflite"}
SAMPLE_FILMS = 32


def export(bundle: Path, kind: str, out: Path | None = None, films: Path | None = None) -> dict[str, Any]:
    """Write the network of `bundle` as `kind` and compare its probabilities with the original.

    The comparison uses the golden film, its mirror images, and `SAMPLE_FILMS` films: of `films` when given, else
    validation films of the run the bundle lies in.

    Returns:
        JSON-able: format, path, films compared, largest difference in probability, bytes.

    Raises:
        UsageError: no such format, or the file exists.
        BundleError: the export differs by more than the tolerance; the file is removed.
        MissingExtra: a library of the format is not installed.
    """
    if kind not in SUFFIXES:
        raise UsageError(f"There is no format {kind!r}.", f"Choose one of {', '.join(SUFFIXES)}.")
    source = load_bundle(bundle)
    target = out or source.folder.parent / f"model{SUFFIXES[kind]}"
    if target.suffix != SUFFIXES[kind]:
        raise UsageError(f"--out {target} should end in {SUFFIXES[kind]} for {kind}.")
    for taken in (target, target.with_suffix(".bin")):
        if taken.exists():
            raise UsageError(f"{taken} exists already.", "Choose another --out, or remove it first.")
    sample = _sample(source, films)
    if kind == "onnx":
        return _copy_graph(source, target, sample)
    extras.require("keras", "train", f"Export to {kind}")
    from cxray.model.export import convert

    try:
        parity = convert(source, kind, target, sample)
    except BaseException:  # neither a refused nor an interrupted export may be taken for a good one
        target.unlink(missing_ok=True)
        target.with_suffix(".bin").unlink(missing_ok=True)
        raise
    return _facts(kind, target, parity.films, parity.largest_difference)


def _copy_graph(source: Bundle, target: Path, sample: npt.NDArray[np.uint8]) -> dict[str, Any]:
    from cxray.runtime.engine import open_engine
    from cxray.runtime.predict import Predictor

    with atomic_path(target) as temporary:
        shutil.copyfile(source.graph, temporary)
    # A copy is checked like any conversion: the file as written, on an engine, against the verified bundle.
    original = Predictor.open(source.folder, "onnxruntime").scores(sample)
    copied = Predictor(source, open_engine(target, "onnxruntime")).scores(sample)
    return _facts("onnx", target, len(sample), float(np.abs(original - copied).max()))


def _facts(kind: str, path: Path, films: int, difference: float) -> dict[str, Any]:
    size = sum(part.stat().st_size for part in {path, path.with_suffix(".bin")} if part.exists() and kind == "openvino")
    return {
        "format": kind,
        "path": str(path),
        "films": films,
        "largest_difference": difference,
        "bytes": size or path.stat().st_size,
    }


def _sample(bundle: Bundle, films: Path | None) -> npt.NDArray[np.uint8]:
    golden = prepare(decode_file(bundle.folder / GOLDEN), bundle.card)
    sample = [golden, golden[:, ::-1], golden[::-1]]
    table = films or bundle.folder.parent / "predictions" / "validation.csv"
    if not table.exists():
        progress.say("No validation films lie beside the bundle; the check uses the golden film only. Pass --films.")
        return np.stack(sample)
    records = read_inputs([table]).records
    step = max(1, len(records) // SAMPLE_FILMS)  # spread over the table, which is sorted by path and so by class
    for record in records[::step][:SAMPLE_FILMS]:
        try:
            sample.append(prepare_file(record.path, bundle.card))
        except UnreadableImage:
            continue  # the films may have moved since; the count of compared films says so
    return np.stack(sample)
