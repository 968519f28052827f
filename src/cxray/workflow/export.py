"""`cxray export`: a bundle's network in another format, checked against the original before it counts."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray import extras, progress
from cxray.bundle import GOLDEN, Bundle, load_bundle
from cxray.data.cache import decode_all
from cxray.data.decode import decode_file
from cxray.data.intake import read_inputs
from cxray.data.prepare import as_model_input, prepare
from cxray.errors import DataError, UsageError
from cxray.evaluate import ranking
from cxray.records import ImageRecord
from cxray.rundir import atomic_path

SUFFIXES = {"onnx": ".onnx", "onnx-int8": ".onnx", "keras": ".keras", "openvino": ".xml", "litert": ".tflite"}
SAMPLE_FILMS = 32
# Films on which the cost of quantisation is measured; none of them is one that the ranges were taken from.
COST_FILMS = 400
MINIMUM_CALIBRATION_FILMS = 10


def export(bundle: Path, kind: str, out: Path | None = None, films: Path | None = None) -> dict[str, Any]:
    """Write the network of `bundle` as `kind` and compare its probabilities with the original.

    The comparison uses the golden film, its mirror images, and `SAMPLE_FILMS` films: of `films` when given, else
    validation films of the run the bundle lies in.

    "onnx-int8" cannot agree with the original: its ranges are taken from some of those films, and what it costs is
    measured on others and reported.

    Returns:
        JSON-able: format, path, films compared, largest difference in probability, bytes; for int8 also the mean
        difference, the AUROC of the positive class before and after (None without labels), and the decisions changed.

    Raises:
        UsageError: no such format, or the file exists.
        BundleError: the export differs by more than the tolerance; the file is removed.
        MissingExtra: a library of the format is not installed.
    """
    if kind not in SUFFIXES:
        raise UsageError(f"There is no format {kind!r}.", f"Choose one of {', '.join(SUFFIXES)}.")
    source = load_bundle(bundle)
    name = f"model-int8{SUFFIXES[kind]}" if kind == "onnx-int8" else f"model{SUFFIXES[kind]}"
    target = out or source.folder.parent / name
    if target.suffix != SUFFIXES[kind]:
        raise UsageError(f"--out {target} should end in {SUFFIXES[kind]} for {kind}.")
    for taken in (target, target.with_suffix(".bin")):
        if taken.exists():
            raise UsageError(f"{taken} exists already.", "Choose another --out, or remove it first.")
    if kind == "onnx-int8":
        return _quantise(source, target, films)
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


def _quantise(source: Bundle, target: Path, films: Path | None) -> dict[str, Any]:
    from cxray.model.quantize import CALIBRATION_FILMS, quantize
    from cxray.runtime.engine import open_engine
    from cxray.runtime.predict import Predictor

    records = _records(source, films)
    prepared = _readable(records, source)
    if len(prepared) < 2 * MINIMUM_CALIBRATION_FILMS:
        raise DataError(
            f"Quantisation needs at least {2 * MINIMUM_CALIBRATION_FILMS} readable films like those to be scored, "
            f"half for its ranges and half for its cost; {len(prepared)} were found.",
            "Pass more with --films.",
        )
    # Every other film, so that both halves hold all classes.
    ranges, judged = prepared[::2][:CALIBRATION_FILMS], prepared[1::2][:COST_FILMS]
    quantize(source.graph, target, np.stack([film for _, film in ranges]))
    sample = np.stack([film for _, film in judged])
    before = Predictor.open(source.folder, "onnxruntime").scores(sample)
    engine = open_engine(target, "onnxruntime")
    after = source.probabilities(np.asarray(engine.run(as_model_input(sample))["logits"]))
    labels = [record.label for record, _ in judged]
    return {
        **_facts("onnx-int8", target, len(sample), float(np.abs(before - after).max())),
        "mean_difference": float(np.abs(before - after).mean()),
        "auroc": _auroc(source, before, labels),
        "auroc_int8": _auroc(source, after, labels),
        "decisions_changed": sum(a != b for a, b in zip(source.decide(before), source.decide(after), strict=True)),
    }


def _auroc(bundle: Bundle, scores: npt.NDArray[np.float64], labels: Sequence[str]) -> float | None:
    is_positive = np.array([label == bundle.positive for label in labels])
    if not bundle.positive or not 0 < is_positive.sum() < len(labels):
        return None
    return ranking.auroc(scores[:, bundle.classes.index(bundle.positive)], is_positive)


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
    records = _records(bundle, films)
    if not records:
        progress.say("No validation films lie beside the bundle; the check uses the golden film only. Pass --films.")
    step = max(1, len(records) // SAMPLE_FILMS)  # spread over the table, which is sorted by path and so by class
    sample = [film for _, film in _readable(records[::step][:SAMPLE_FILMS], bundle)]
    return np.stack([golden, golden[:, ::-1], golden[::-1], *sample])


def _records(bundle: Bundle, films: Path | None) -> list[ImageRecord]:
    """The films that were given, else the validation films of the run that the bundle lies in, else none."""
    table = films or bundle.folder.parent / "predictions" / "validation.csv"
    if not table.exists():
        return []
    findings = bundle.classes if bundle.task == "findings" else ()
    return list(read_inputs([table], bundle.classes, findings=findings).records)


def _readable(records: Sequence[ImageRecord], bundle: Bundle) -> list[tuple[ImageRecord, npt.NDArray[np.uint8]]]:
    prepared = zip(records, decode_all(records, bundle.card), strict=True)
    # The films may have moved since; the count of compared films says so.
    return [(record, film) for record, film in prepared if not isinstance(film, str)]
