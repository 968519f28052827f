"""`cxray predict --features`: the network's pooled features of each film, as the table that `cxray evaluate` takes.

A pass of its own after the scores, because scores are written row by row and resumed, and features are wanted rarely.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxray import progress, rundir
from cxray.data.intake import read_inputs
from cxray.errors import DataError, UsageError
from cxray.runtime.predict import Predictor
from cxray.tables import is_table, write_table


def check_features(out: Path) -> None:
    """Refuse a feature table that could not be written, before any work is spent.

    Raises:
        UsageError: not the name of a table. OutputError: its folder cannot be written.
    """
    if not is_table(out) or out.is_dir():
        raise UsageError(f"--features {out} must be a file that ends in .csv or .parquet.", "Example: features.parquet")
    rundir.check_writable(out)


def write_features(
    bundle: Path, inputs: Sequence[Path], out: Path, *, engine: str = "auto", threads: int = 0, split: str = ""
) -> int:
    """Write `path` and one column a feature to `out`; returns how many films have features. Unreadable films have none.

    Raises:
        BundleError, UsageError, DataError: no film could be read. OutputError: the table cannot be written.
    """
    predictor = Predictor.for_streams(bundle, engine, cores=threads)
    findings = predictor.bundle.classes if predictor.bundle.task == "findings" else ()
    intake = read_inputs(inputs, predictor.bundle.classes, findings=findings)
    records = [record for record in intake.records if not split or record.split == split]
    answers = progress.track(predictor.stream(records, keep_features=True), total=len(records), what="Features")
    known = [(str(answer.record.path), answer.features) for answer in answers if answer.features is not None]
    if not known:
        raise DataError(
            "No film could be read, so there are no features.", "See the column `error` of the predictions."
        )
    values = np.stack([features for _, features in known]).astype(np.float64)
    columns = {f"feature_{number:04d}": values[:, number] for number in range(values.shape[1])}
    write_table(out, {"path": np.array([path for path, _ in known], dtype=object), **columns})
    return len(known)
