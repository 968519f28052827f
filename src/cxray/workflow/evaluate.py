"""`cxray evaluate` and `cxray compare`: predictions tables in, records, tables, figures and a report out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cxray import rundir
from cxray.errors import UsageError
from cxray.evaluate.comparison import Comparison, Goal, compare
from cxray.evaluate.evaluation import Evaluation
from cxray.evaluate.foreign import read_foreign
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
    command: str = "",
    **options: Any,
) -> Evaluation:
    """Judge a predictions table and write `evaluation.json`, `tables/`, `figures/` and `report.html` to `out`.

    `columns` maps other column names to ours, as `ours=theirs`; `command` is shown as the line to replay.
    Further `options` are those of `cxray.evaluate.evaluate`.

    Raises:
        DataError, LabelError, UsageError, SealedTestError: the table or the options cannot be meant.
        OutputError: the results cannot be written.
    """
    table = read_predictions(predictions, columns)
    other = read_predictions(validation, columns) if validation else None
    judgement = evaluate(table, validation=other, positive=positive, source=str(predictions), **options)
    rundir.prepare_folder(out, overwrite=overwrite)
    judgement.save(out)
    write_evaluation_report(judgement, out, command=command)
    rundir.write_manifest(out, {"kind": "evaluation", "source": str(predictions)})
    return judgement


def compare_tables(
    predictions: Sequence[Path],
    out: Path,
    *,
    validation: Sequence[Path] = (),
    overwrite: bool = False,
    columns: Sequence[str] = (),
    margin: float | None = None,
    **options: Any,
) -> Comparison:
    """Compare predictions tables of the same films and write `comparison.json` and `tables/` to `out`.

    A model is called by its file name, or by `name=path`. `validation` tables come in the same order.

    Raises:
        UsageError, DataError: fewer than two tables, or tables that cannot be compared.
        OutputError: the results cannot be written.
    """
    if validation and len(validation) != len(predictions):
        raise UsageError(
            f"{len(predictions)} tables but {len(validation)} validation tables were given.",
            "Give one for each, in order.",
        )
    named = _named(predictions)
    tables = {name: read_predictions(path, columns) for name, path in named.items()}
    others = {name: read_predictions(path, columns) for name, path in zip(named, validation, strict=False)}
    result = compare(tables, validation=others, goal=Goal(margin=margin), **options)
    rundir.prepare_folder(out, overwrite=overwrite)
    result.save(out)
    rundir.write_manifest(out, {"kind": "comparison", "sources": {name: str(path) for name, path in named.items()}})
    return result


def _named(paths: Sequence[Path]) -> dict[str, Path]:
    """Names for the models: `name=path`, else the shortest part of the path that tells them apart."""
    named: dict[str, Path] = {}
    stems = [path.stem for path in paths]
    for path in paths:
        name, separator, rest = str(path).partition("=")
        if separator and not path.exists():
            key, path = name, Path(rest)
        else:
            key = path.stem if stems.count(path.stem) == 1 else path.with_suffix("").as_posix()
        if key in named:
            raise UsageError(f"Two tables are called {key!r}.", "Name them: first=a.csv second=b.csv")
        named[key] = path
    return named


def read_predictions(path: Path, columns: Sequence[str] = ()) -> Predictions:
    """Read a predictions table; `columns` rename, as `ours=theirs`.

    Raises:
        UsageError: an entry of `columns` is not of that form, or names no column.
        DataError: not a predictions table; the message suggests columns that look like scores.
    """
    mapping = {}
    for entry in columns:
        ours, separator, theirs = entry.partition("=")
        if not separator:
            raise UsageError(f"--column {entry!r} is not of the form ours=theirs.", "Example: --column path=image_id")
        mapping[ours.strip()] = theirs.strip()
    return read_foreign(path, mapping)
