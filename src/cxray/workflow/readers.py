"""`cxray readers`: a table of readers' marks in, agreement and a multi-reader study out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cxray import rundir
from cxray.evaluate.reading import Marks, ReaderJudgement, judge_readers


def judge_reader_table(marks: Path, out: Path, *, overwrite: bool = False, **options: Any) -> ReaderJudgement:
    """Judge a table of marks and write `readers.json` and `tables/` to `out`; `options` are those of `judge_readers`.

    Raises:
        DataError, UsageError: the table or the options cannot be meant.
        OutputError: the results cannot be written.
    """
    table = Marks.read(marks)
    table.check_truth()
    judgement = judge_readers(table, **options)
    rundir.prepare_folder(out, overwrite=overwrite, reads=[marks])
    judgement.save(out)
    rundir.write_manifest(out, {"kind": "readers", "source": str(marks)})
    return judgement
