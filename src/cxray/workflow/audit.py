"""`cxray audit`: films in, findings, tables and a page out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from cxray import rundir
from cxray.data.audit import Audit, audit_intake
from cxray.data.audit import audit as audit_films
from cxray.data.audit.scan import relative_name
from cxray.data.intake import read_dataset
from cxray.records import ImageRecord
from cxray.report.audit_page import write_audit_page
from cxray.report.audit_pictures import MOST_IN_A_ROW, Sheet, films_wanted
from cxray.tables import is_table
from cxray.workflow.samples import class_of, evenly
from cxray.workflow.thumbnails import thumbnails

_MOST_SHEETS = 24
_SPLITS = ("train", "validation", "test", "")


def audit(
    data: Path | str,
    out: Path | str | None = None,
    *,
    seed: int = 0,
    findings: Sequence[str] = (),
    known: Sequence[Path | str] = (),
    overwrite: bool = False,
) -> Audit:
    """Find what is wrong with `data`; with `out` also write what `cxray audit` writes, the page included.

    Args:
        data: a folder or table, as for training.
        out: folder for `audit.json`, `audit.html` and `tables/`; None writes nothing.
        seed: of folds, shuffles and resamples; equal seeds give equal results.
        findings: multi-label columns of a table.
        known: tables of fingerprints (`tables/films.csv` of other audits) to recognise films by.
        overwrite: replace earlier results in `out`.

    Raises:
        As `audit_folder`.
    """
    tables = [Path(table) for table in known]
    if out is None:
        return audit_films(Path(data), seed=seed, findings=findings, known=tables)
    return audit_folder(Path(data), Path(out), seed=seed, findings=findings, known=tables, overwrite=overwrite)


def audit_folder(
    data: Path,
    out: Path,
    *,
    seed: int = 0,
    findings: Sequence[str] = (),
    known: Sequence[Path] = (),
    overwrite: bool = False,
) -> Audit:
    """Audit `data` and write `audit.json`, `tables/`, `audit.html` and, last, the manifest to `out`.

    The other arguments are those of `cxray.data.audit.audit`.

    Raises:
        UsageError: `out` holds other work, or the very files that are to be read.
        DataError, LabelError: the films or the tables of fingerprints cannot be used.
        OutputError: the results cannot be written.
    """
    rundir.prepare_folder(out, overwrite=overwrite, reads=[data, *known])
    intake = read_dataset(data, findings=findings)
    result = audit_intake(intake, data, seed=seed, known=known)
    root = data.parent if is_table(data) else data
    records = {relative_name(record.path, root): record for record in intake.records}
    sheets = _sheets(records)
    films = _pictures(records, films_wanted(result, sheets))
    result.write_results(out)
    write_audit_page(result, out, films=films, sheets=sheets, data=str(data))
    result.write_manifest(out)
    return result


def _sheets(records: Mapping[str, ImageRecord]) -> list[Sheet]:
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, record in records.items():
        groups[record.split, class_of(record)].append(name)
    ordered = sorted(groups, key=lambda group: (_SPLITS.index(group[0]), group[1]))[:_MOST_SHEETS]
    return [
        Sheet(split, label, len(groups[split, label]), tuple(evenly(groups[split, label], MOST_IN_A_ROW)))
        for split, label in ordered
    ]


def _pictures(records: Mapping[str, ImageRecord], wanted: Sequence[str]) -> dict[str, bytes]:
    """Small PNGs of the films wanted that can be read, in order, until the page is full."""
    return thumbnails({name: records[name].path for name in wanted if name in records})
