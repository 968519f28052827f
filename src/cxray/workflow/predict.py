"""`cxray predict`: films in, the predictions table out. Starts without TensorFlow.

    films ─► decode pool ─► batches ─► engine ─► rows, a chunk at a time ─► the table, when all are there

Memory does not grow with the films. After a kill, `resume` goes on behind the last row that was written.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxray import progress, rundir
from cxray.data.intake import read_inputs
from cxray.errors import DataError, UsageError
from cxray.records import ImageRecord, Predictions
from cxray.runtime.gate import Drift, drift
from cxray.runtime.predict import Predictor, as_table, metadata_names
from cxray.runtime.rows import RowJournal, journal_of
from cxray.tables import is_table

ROWS_AT_ONCE = 64
# Films that are scored in float32 as well before fewer bits are trusted, and how far their probabilities may move.
COMPARED_FILMS = 32
LARGEST_SHIFT = 0.05


@dataclasses.dataclass(frozen=True)
class Scored:
    """A written predictions table: how many films it holds, how many of them have no result and why the first has none,
    whether any film carries a label, so that the table can be judged, and whether the films as a whole come from
    elsewhere than the training films (`drift`, None without a gate or with too few films)."""

    path: Path
    films: int
    failed: int
    first_error: str
    has_labels: bool
    drift: Drift | None = None

    @property
    def table(self) -> Predictions:
        """The table, read back from disk."""
        return Predictions.read(self.path)


def predict(
    bundle: Path,
    inputs: Sequence[Path],
    out: Path,
    *,
    engine: str = "auto",
    threads: int = 0,
    precision: str = "float32",
    split: str = "",
    resume: bool = False,
) -> Scored:
    """Score films with a bundle and write the predictions table.

    Args:
        bundle: the bundle's folder (or the run's).
        inputs: film files, folders or tables; `split` keeps only their films of that split.
        out: `.csv` or `.parquet`.
        engine: "auto", "onnxruntime", "openvino" or "onnxruntime:PROVIDER".
        threads: processor cores to use, 0 = all.
        precision: "float32", or "bfloat16" (see `Predictor.open`).
        resume: go on behind the rows that an earlier, killed call left.

    Raises:
        BundleError, UsageError, DataError: nothing could be scored. A single unreadable film is a row with an `error`.
        OutputError: the table could not be written.
    """
    _check_out(out, resume=resume)
    predictor = Predictor.for_streams(bundle, engine, cores=threads, precision=precision)
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
    if precision != "float32":
        exact = Predictor.for_streams(bundle, "onnxruntime", cores=threads)
        _compare(predictor, exact, records[:COMPARED_FILMS], precision)
    return _write_rows(predictor, records, out, resume=resume)


def _compare(quick: Predictor, exact: Predictor, records: Sequence[ImageRecord], precision: str) -> None:
    """Say how far fewer bits move the probabilities of `records`.

    Raises:
        UsageError: further than `LARGEST_SHIFT`.
    """
    tables = [as_table(p.bundle, list(p.stream(records))).scores for p in (quick, exact)]
    shifts = np.abs(tables[0] - tables[1])
    shift = float(np.nanmax(shifts)) if not np.isnan(shifts).all() else 0.0
    found = f"In {precision} the probabilities of the first {len(records)} films move by {shift:.4f} at most"
    if shift > LARGEST_SHIFT:
        raise UsageError(f"{found}; {LARGEST_SHIFT:g} is accepted.", "Leave out --precision.")
    progress.say(f"{found}.")


def _check_out(out: Path, *, resume: bool) -> None:
    if out.suffix.lower() not in (".csv", ".parquet") or not is_table(out):
        raise UsageError(f"--out {out} must end in .csv or .parquet.", "Example: --out predictions.csv")
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder; a file was expected.", f"Example: --out {out / 'predictions.csv'}")
    rundir.check_writable(out)
    if resume and out.exists() and not journal_of(out).exists():
        raise UsageError(f"{out} is whole already; there is nothing to resume.", "Leave out --resume to score again.")


def _write_rows(predictor: Predictor, records: Sequence[ImageRecord], out: Path, *, resume: bool) -> Scored:
    kept = metadata_names(records)
    columns = as_table(predictor.bundle, [], kept, with_facts=True).columns()
    with RowJournal(out, columns, resume=resume) as journal:
        if journal.done:
            journal.check_paths(records, predictor.bundle.identifier)
            progress.say(f"Resuming: {journal.done} of {len(records)} films are done.")
        left = records[journal.done :]
        answers = progress.track(predictor.stream(left), total=len(left), what="Predicting")
        try:
            while chunk := list(itertools.islice(answers, ROWS_AT_ONCE)):
                journal.append(as_table(predictor.bundle, chunk, kept, with_facts=True))
        except KeyboardInterrupt:
            progress.say(f"{journal.done} of {len(records)} films are done; --resume goes on from there.")
            raise
        journal.close()
        found = drift(predictor.gate, journal.gate_answers) if predictor.gate else None
        return Scored(out, journal.done, journal.failed, journal.first_error, journal.labelled, found)
