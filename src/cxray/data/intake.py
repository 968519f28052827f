"""From what a person has — a folder, a table, single files — to a list of `ImageRecord`.

Two entrances: `read_dataset` for data to learn from or audit, where labels and splits must make sense, and
`read_inputs` for films to score, where everything but the film may be unknown. Neither opens an image beyond its
first bytes, or a DICOM header, which names the patient; a film that cannot be decoded is found, and reported, later.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cxray.data.dicom import library as dicom_library
from cxray.data.dicom.patients import TaggedPatients, dicom_films, read_tagged_patients
from cxray.data.folders import SPLIT_NAMES, FilmFile, Layout, find_layout, walk_films
from cxray.data.identity import Identity, assign_patients
from cxray.data.labels import check_class_folders, check_class_labels, finding_columns, read_findings
from cxray.errors import DataError, LabelError
from cxray.records import ImageRecord
from cxray.tables import Column, is_table, read_table, stream_table

_TABLE_COLUMNS = ("path", "label", "patient", "split")


@dataclasses.dataclass(frozen=True)
class Intake:
    """What was found.

    `classes` are the class names in sorted order, or the findings in table order when `is_multi_label`. `layout`:
    "splits", "classes", "table" or "files". `passed_over` counts files left out, by reason.
    """

    records: tuple[ImageRecord, ...]
    classes: tuple[str, ...]
    is_multi_label: bool
    layout: str
    identity: Identity
    passed_over: Mapping[str, int]

    def counts(self) -> dict[str, dict[str, int]]:
        """Films per split ("" = undivided) and class; for findings, films that have the finding."""
        table: dict[str, Counter[str]] = {}
        for record in self.records:
            row = table.setdefault(record.split, Counter())
            row.update([record.label] if record.label else [name for name, value in record.findings.items() if value])
        return {split: dict(row) for split, row in table.items()}


def read_dataset(data: Path, *, findings: Sequence[str] = ()) -> Intake:
    """Read a labelled data set: `train/ val/ test/ × classes`, plain class folders, or a CSV/TSV/Parquet table.

    Args:
        data: folder or table.
        findings: multi-label columns of a table; by default every 0/1 column when there is no `label` column.

    Raises:
        DataError: nothing there, no films, or no labels.
        LabelError: labels that look misspelt, contradict each other, or a finding that is neither 0, 1 nor empty.
    """
    if is_table(data):
        return _read_labelled_table(data, findings)
    layout = find_layout(data)
    passed_over: Counter[str] = Counter()
    records = _read_class_folders(layout, passed_over)
    if not records:
        raise DataError(
            f"{data} holds no films in class folders{_what_was_there(passed_over)}.",
            "Expected train/<CLASS>/ and test/<CLASS>/ folders, or <CLASS>/ folders with films inside.",
        )
    _check_class_folders(records, layout)
    return _finish(records, layout.kind, passed_over)


def read_inputs(paths: Sequence[Path], classes: Sequence[str] = (), *, findings: Sequence[str] = ()) -> Intake:
    """Read films to score: files, folders (searched through) and tables, in the order given.

    `findings` are the multi-label columns that a table may have; every other column is kept as it is.

    A label is taken over where a table gives it or a folder on the way carries the name of one of `classes`; a
    split where a folder is called train, val or test.

    Raises:
        DataError: a path does not exist, or no film was found at all.
    """
    passed_over: Counter[str] = Counter()
    records: list[ImageRecord] = []
    for path in paths:
        found = stream_films(path, classes, findings=findings, passed_over=passed_over)
        records += _without_repeats(found, path, passed_over) if is_table(path) else found
    if not records:
        raise nothing_found(paths, passed_over)
    # Without the extra, DICOM films become rows that say what to install; scoring the others goes on.
    return _finish(records, "files", passed_over, needs_tags=dicom_library.is_installed())


def stream_films(
    path: Path, classes: Sequence[str], *, findings: Sequence[str], passed_over: Counter[str]
) -> Iterator[ImageRecord]:
    """The films of one input of `read_inputs`, one after the other, in constant memory.

    Patients are those that a table names, and a table's repeated rows are still there.

    Raises:
        DataError: there is nothing at `path`, or its table cannot be used.
    """
    if is_table(path):
        yield from stream_rows(path, path, findings)
    elif path.is_dir():
        skip = frozenset(_nested_copies(path))
        passed_over["nested copy of the archive"] += len(skip)
        yield from (unlabelled(film, path, classes) for film in walk_films(path, passed_over, skip))
    elif path.is_file():
        parts = (path.parent.parent.name, path.parent.name)
        yield unlabelled(FilmFile(path, parts), Path(), classes)
    else:
        raise DataError(f"There is nothing at {path}.", "Check the path.")


def stream_rows(table: Path, source: Path, findings: Sequence[str] = ()) -> Iterator[ImageRecord]:
    """The rows of `table`, a block at a time; relative paths start at `source`, which is where it came from.

    Raises:
        DataError: not a table, without a column `path`, or with a cell that cannot be meant.
    """
    first = 0
    for block in stream_table(table):
        _check_paths(block, source)
        yield from _rows(block, [name for name in findings if name in block], source, first)
        first += len(block["path"])


def nothing_found(inputs: Sequence[object], passed_over: Mapping[str, int]) -> DataError:
    """The sentence for inputs without a single film."""
    return DataError(
        f"No films were found in {', '.join(map(str, inputs))}{_what_was_there(passed_over)}.", "Check the path."
    )


def _nested_copies(folder: Path) -> tuple[Path, ...]:
    try:
        return find_layout(folder).copies
    except DataError:  # several data sets side by side are no trouble for scoring
        return ()


def _finish(
    records: Sequence[ImageRecord], layout: str, passed_over: Counter[str], *, needs_tags: bool = True
) -> Intake:
    named, identity = assign_patients(records, _tagged(records) if needs_tags else None)
    findings = dict.fromkeys(name for record in named for name in record.findings)
    classes = tuple(findings) or tuple(sorted({record.label for record in named} - {""}))
    counted = {reason: count for reason, count in sorted(passed_over.items()) if count}
    return Intake(tuple(named), classes, bool(findings), layout, identity, counted)


def _tagged(records: Sequence[ImageRecord]) -> TaggedPatients | None:
    """Patients from DICOM headers, unless a table names them already."""
    if any(record.patient for record in records):
        return None
    return read_tagged_patients(dicom_films([record.path for record in records]))


def _read_class_folders(layout: Layout, passed_over: Counter[str]) -> list[ImageRecord]:
    records: list[ImageRecord] = []
    passed_over["nested copy of the archive"] += len(layout.copies)
    passed_over["folder outside the data set"] += len(layout.outside)
    for split, folder in layout.splits.items():
        for film in walk_films(folder, passed_over, frozenset(layout.copies)):
            if film.parts:
                records.append(ImageRecord(film.path, label=film.parts[0], split=split))
            else:
                passed_over["film outside any class folder"] += 1
    return records


def _check_class_folders(records: Sequence[ImageRecord], layout: Layout) -> None:
    names: dict[str, Path] = {}
    for record in records:
        names.setdefault(record.label, layout.splits[record.split] / record.label)
    if layout.kind == "classes" and {name.lower() for name in names} <= set(SPLIT_NAMES):
        raise LabelError(
            f"{layout.root} holds the splits {', '.join(map(repr, sorted(names)))}, but no train split.",
            "Call the folder with the films to learn from 'train'.",
        )
    known = {record.label for record in records if record.split in ("train", "")}
    for record in records:
        if record.label not in known:
            near = difflib.get_close_matches(record.label.casefold(), [k.casefold() for k in known], n=1, cutoff=0.6)
            hint = f" Did you mean {next(k for k in known if k.casefold() == near[0])!r}?" if near else ""
            raise LabelError(
                f"The {record.split} split has a class {record.label!r} ({record.path.parent}) that train does not "
                f"have.{hint}",
                f"Rename the folder so that every split of {layout.root} uses the same class names.",
            )
    check_class_folders(names)


def _read_labelled_table(path: Path, wanted: Sequence[str]) -> Intake:
    passed_over: Counter[str] = Counter()
    records, findings = _read_table_records(path, wanted, passed_over)
    if not findings and not any(record.label for record in records):
        raise LabelError(
            f"{path} has neither a filled 'label' column nor 0/1 columns of findings.",
            "Add a column 'label', or one 0/1 column per finding.",
        )
    known = [record for record in records if record.label or findings]
    passed_over["row without a label"] += len(records) - len(known)
    if not any(record.path.exists() for record in known):
        raise DataError(
            f"None of the {len(known)} films named in {path} exists; the first is {known[0].path}.",
            "Paths are taken relative to the table's own folder, then to the working folder.",
        )
    return _finish(known, "table", passed_over)


def _read_table_records(
    source: Path, wanted: Sequence[str], passed_over: Counter[str]
) -> tuple[list[ImageRecord], list[str]]:
    table = read_table(source)
    _check_paths(table, source)
    findings = finding_columns(table, wanted, source)
    if "label" in table and not findings:
        check_class_labels(table["label"], source)
    records = _rows(table, findings, source)
    return _without_repeats(records, source, passed_over), findings


def _check_paths(table: Mapping[str, Column], source: Path) -> None:
    if "path" not in table:
        raise DataError(
            f"{source} has no column 'path'; its columns are: {', '.join(list(table)[:12])}.",
            "Rename the column with the films' paths to 'path'.",
        )


def _rows(table: Mapping[str, Column], findings: Sequence[str], source: Path, first: int = 0) -> list[ImageRecord]:
    """The records of a table, or of a block of it that begins with row `first`."""
    rows = len(table["path"])
    truths: Sequence[Mapping[str, bool | None]] = read_findings(table, findings) if findings else [{}] * rows
    further = [name for name in table if name not in (*_TABLE_COLUMNS, *findings)]
    records = []
    for row in range(rows):
        cell = {name: str(table[name][row]) if name in table else "" for name in _TABLE_COLUMNS}
        records.append(
            ImageRecord(
                path=_locate(cell["path"], source, first + row),
                label="" if findings else cell["label"],
                findings=truths[row],
                patient=cell["patient"],
                split=_read_split(cell["split"], source, first + row),
                metadata={name: str(table[name][row]) for name in further},
            )
        )
    return records


def _locate(text: str, source: Path, row: int) -> Path:
    if not text:
        raise DataError(f"{source}, row {row + 2}: the path is empty.", "Fill it in or remove the row.")
    if "://" in text:
        return Path(unquote(urlsplit(text).path)) if text.startswith("file:") else Path(text)
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:  # ~somebody who does not exist here
        raise DataError(f"{source}, row {row + 2}: {text!r} names an unknown user.", "Correct that path.") from error
    beside = source.parent / path
    return beside if not path.is_absolute() and (beside.exists() or not path.exists()) else path


def _read_split(text: str, source: Path, row: int) -> str:
    split = SPLIT_NAMES.get(text.lower(), "")
    if text and not split:
        raise DataError(
            f"{source}, row {row + 2}: split {text[:40]!r} is none of train, validation, test.",
            "Correct that cell.",
        )
    return split


class Repeats:
    """Tells rows that name a film anew from those that repeat an earlier row of `source`, and counts the latter."""

    def __init__(self, source: Path, passed_over: Counter[str]) -> None:
        self._source, self._passed_over = source, passed_over
        self._seen: dict[Path, tuple[int, ImageRecord]] = {}

    def is_new(self, row: int, record: ImageRecord) -> bool:
        """Whether `record`, from row `row` (0 = first), is the first of its film.

        Raises:
            LabelError: an earlier row gives the same film another label or split.
        """
        earlier_row, earlier = self._seen.setdefault(record.path, (row, record))
        if earlier is record:
            return True
        if (earlier.label, dict(earlier.findings), earlier.split) != (
            record.label,
            dict(record.findings),
            record.split,
        ):
            raise LabelError(
                f"{self._source}: rows {earlier_row + 2} and {row + 2} give {record.path} two different labels or "
                "splits.",
                "Keep the row that is right.",
            )
        self._passed_over["repeated row"] += 1
        return False


def _without_repeats(records: Iterable[ImageRecord], source: Path, passed_over: Counter[str]) -> list[ImageRecord]:
    repeats = Repeats(source, passed_over)
    return [record for row, record in enumerate(records) if repeats.is_new(row, record)]


def unlabelled(film: FilmFile, root: Path, classes: Sequence[str]) -> ImageRecord:
    """A film with the label and split that the folders on the way from `root` give it."""
    # The given folder's own name counts, and its parent's when it is a class: `predict … data/test/NORMAL`. Nothing
    # above them does: a home called /data/test says nothing about its films.
    above = (root.resolve().parent.name, root.resolve().name) if root != Path() else film.parts[-2:]
    below = film.parts if root != Path() else ()
    parts = (*(above if above and above[-1] in classes else above[-1:]), *below)
    label = next((part for part in reversed(parts) if part in classes), "")
    split = next((SPLIT_NAMES[part.lower()] for part in reversed(parts) if part.lower() in SPLIT_NAMES), "")
    return ImageRecord(film.path, label=label, split=split)


def _what_was_there(passed_over: Mapping[str, int]) -> str:
    found = [f"{count} × {reason}" for reason, count in passed_over.items() if count]
    return f" (passed over: {'; '.join(found)})" if found else " (it is empty)"
