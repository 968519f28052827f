"""`cxray audit`: films in, findings, tables and a page out."""

from __future__ import annotations

import io
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from cxray import rundir
from cxray.config import InputCard
from cxray.data.audit import Audit, audit_intake
from cxray.data.audit.scan import relative_name
from cxray.data.cache import WORKERS
from cxray.data.decode import decode_file
from cxray.data.intake import read_dataset
from cxray.data.prepare import MINIMUM_SIDE_PIXELS, prepare
from cxray.errors import UnreadableImage, UsageError
from cxray.records import ImageRecord
from cxray.report.audit_page import write_audit_page
from cxray.report.audit_pictures import MOST_IN_A_ROW, Sheet, films_wanted
from cxray.tables import is_table
from cxray.workflow.samples import class_of, evenly

PICTURE_SIDE = 144
# A page grows by a third when pictures become text; this keeps it near 4 MB.
_PICTURE_BYTES = 2_600_000
_MOST_SHEETS = 24
_SPLITS = ("train", "validation", "test", "")


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
    _keep_what_is_read([data, *known], out)
    rundir.prepare_folder(out, overwrite=overwrite)
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


def _keep_what_is_read(sources: Sequence[Path], out: Path) -> None:
    """Refuse an `out` that holds what is to be read: replacing earlier results would delete it first."""
    for source in sources:
        if source.resolve().is_relative_to(out.resolve()):
            raise UsageError(f"{source} lies in {out}, where the results would go.", "Choose another --out.")


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
    known = [name for name in wanted if name in records]
    with ThreadPoolExecutor(WORKERS) as pool:
        drawn = dict(zip(known, pool.map(lambda name: _small_png(records[name].path), known), strict=True))
    sizes = itertools.accumulate(len(png) for png in drawn.values())
    return {name: png for (name, png), size in zip(drawn.items(), sizes, strict=True) if png and size <= _PICTURE_BYTES}


def _small_png(path: Path) -> bytes:
    """The film with its longer side at `PICTURE_SIDE` pixels; empty when it cannot be read."""
    try:
        film = decode_file(path, at_least=PICTURE_SIDE)
        scale = PICTURE_SIDE / max(film.stored_height, film.stored_width)
        height, width = (
            max(MINIMUM_SIDE_PIXELS, round(side * scale)) for side in (film.stored_height, film.stored_width)
        )
        pixels = prepare(film, InputCard(height=height, width=width, fit="stretch"), name=str(path))
    except UnreadableImage:
        return b""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", optimize=True)
    return stream.getvalue()
