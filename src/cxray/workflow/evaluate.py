"""`cxray evaluate`: a predictions table in, records, tables, figures and a report out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cxray import rundir
from cxray.errors import UsageError
from cxray.evaluate.evaluation import Evaluation
from cxray.evaluate.summary import evaluate
from cxray.records import Predictions
from cxray.report.page import write_evaluation_report


def evaluate_table(
    predictions: Path,
    out: Path,
    *,
    validation: Path | None = None,
    positive: str = "",
    overwrite: bool = False,
    columns: Sequence[str] = (),
    **options: Any,
) -> Evaluation:
    """Judge a predictions table and write `evaluation.json`, `tables/`, `figures/` and `report.html` to `out`.

    `columns` maps other column names to ours, as `ours=theirs`. Further `options` are those of
    `cxray.evaluate.evaluate`.

    Raises:
        DataError, LabelError, UsageError, SealedTestError: the table or the options cannot be meant.
        OutputError: the results cannot be written.
    """
    table = _read(predictions, columns)
    other = _read(validation, columns) if validation else None
    judgement = evaluate(table, validation=other, positive=positive, source=str(predictions), **options)
    rundir.prepare_folder(out, overwrite=overwrite)
    judgement.save(out)
    write_evaluation_report(judgement, out)
    rundir.write_manifest(out, {"kind": "evaluation", "source": str(predictions)})
    return judgement


def _read(path: Path, columns: Sequence[str]) -> Predictions:
    if not columns:
        return Predictions.read(path)
    from cxray.evaluate.foreign import read_foreign

    mapping = {}
    for entry in columns:
        ours, separator, theirs = entry.partition("=")
        if not separator:
            raise UsageError(f"--column {entry!r} is not of the form ours=theirs.", "Example: --column path=image_id")
        mapping[ours.strip()] = theirs.strip()
    return read_foreign(path, mapping)
