"""`cxray predict`: films in, the predictions table out. Starts without TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from cxray import progress, rundir
from cxray.data.intake import read_inputs
from cxray.errors import DataError, UsageError
from cxray.records import Predictions
from cxray.runtime.predict import Predictor
from cxray.tables import is_table


@dataclasses.dataclass(frozen=True)
class Scored:
    """A written predictions table and how many films it holds, and how many of them have no result."""

    table: Predictions
    path: Path
    films: int
    failed: int


def predict(
    bundle: Path, inputs: Sequence[Path], out: Path, *, engine: str = "auto", threads: int = 0, split: str = ""
) -> Scored:
    """Score films with a bundle and write the predictions table.

    Args:
        bundle: the bundle's folder (or the run's).
        inputs: film files, folders or tables; `split` keeps only their films of that split.
        out: `.csv` or `.parquet`.
        engine: "auto", "onnxruntime" or "openvino".
        threads: processor threads of one inference, 0 = all.

    Raises:
        BundleError, UsageError, DataError: nothing could be scored. A single unreadable film is a row with an `error`.
        OutputError: the table could not be written.
    """
    if not is_table(out):
        raise UsageError(f"--out {out} must end in .csv or .parquet.", "Example: --out predictions.csv")
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder; a file was expected.", f"Example: --out {out / 'predictions.csv'}")
    rundir.check_writable(out)
    predictor = Predictor.open(bundle, engine, threads=threads)
    bundled = predictor.bundle
    findings = bundled.classes if bundled.task == "findings" else ()
    intake = read_inputs(inputs, bundled.classes, findings=findings)
    records = [record for record in intake.records if not split or record.split == split]
    if not records:
        raise DataError(
            f"None of the {len(intake.records)} films belongs to the split {split!r}.", "Leave out --split."
        )
    for reason, count in intake.passed_over.items():
        progress.say(f"Passed over: {count} × {reason}.")
    table = predictor.predict(records)
    table.write(out)
    return Scored(table, out, len(table), int((table.error != "").sum()))
