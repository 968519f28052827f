"""The list of films on disk: every film once, numbered, in blocks that workers read by themselves.

Built in three passes whose memory does not grow with the films (but for eight bytes a film): inputs to a spool;
the spool once more, where no table names patients, to see who is one patient; the spool to the list without repeats.
A DICOM folder without a `patient` column is the exception: its headers' patients are held in memory, as `predict` does.
"""

from __future__ import annotations

import array
import dataclasses
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxray.cluster.locations import as_input, copy_table, is_uri, list_films
from cxray.data.dicom import library as dicom_library
from cxray.data.dicom.patients import TaggedPatients, dicom_films, read_tagged_patients
from cxray.data.identity import Grammar, GrammarVote, name_patients
from cxray.data.intake import Repeats, nothing_found, stream_films, stream_rows, unlabelled
from cxray.errors import DataError
from cxray.records import ImageRecord
from cxray.rundir import atomic_path
from cxray.runtime.engine import BATCH
from cxray.tables import is_table

SPOOL, LIST = "films.spool", "films.parquet"
# A crash repeats one block at most; 2,048 rows keep ten million results in 5,000 parts.
LARGEST_BLOCK = 2048
BLOCKS_A_WORKER = 8
_ROWS_AT_ONCE = 1024


@dataclasses.dataclass(frozen=True)
class FilmList:
    """The finished list: number of films, films in a block, the metadata columns and what was passed over."""

    folder: Path
    films: int
    block: int
    metadata: tuple[str, ...]
    passed_over: Mapping[str, int]


@dataclasses.dataclass
class _Survey:
    """What one pass over the inputs found out."""

    hashes: array.array[int] = dataclasses.field(default_factory=lambda: array.array("Q"))
    metadata: dict[str, None] = dataclasses.field(default_factory=dict)
    passed_over: Counter[str] = dataclasses.field(default_factory=Counter)
    has_patients: bool = False

    def repeated(self) -> frozenset[int]:
        """Hashes that occur more than once."""
        ordered = np.sort(np.frombuffer(self.hashes, dtype=np.uint64))
        return frozenset(ordered[1:][ordered[1:] == ordered[:-1]].tolist())


def blocks_of(films: int, block: int) -> int:
    """How many blocks there are."""
    return -(-films // block)


def choose_block(films: int, workers: int) -> int:
    """Films in a block: several blocks for each worker, whole batches, so that scores do not depend on it."""
    wanted = films // (workers * BLOCKS_A_WORKER)
    return max(BATCH, min(LARGEST_BLOCK, wanted // BATCH * BATCH))


def write_film_list(
    inputs: Sequence[str], folder: Path, *, classes: Sequence[str], findings: Sequence[str], split: str = "",
    block: int = 0, workers: int = 1,
) -> FilmList:  # fmt: skip
    """Find the films of `inputs` and write the list into `folder`.

    Args:
        inputs: tables, folders, films, or URIs of them.
        folder: where the list is put; must exist.
        classes, findings: as `read_inputs`.
        split: keep only films of this split.
        block: films in a block, rounded up to whole batches of the engine; 0 = chosen for `workers`.

    Raises:
        DataError: nothing there, no films, or none of the split.
        LabelError: two rows that contradict each other about one film.
        OutputError: the list cannot be written.
    """
    survey = _Survey()
    spool = folder / SPOOL
    _write_rows(spool, _spooled(_find(inputs, folder, classes, findings, survey.passed_over), survey, split))
    if not survey.hashes:
        if split:
            raise DataError(f"None of the films belongs to the split {split!r}.", "Leave out --split.")
        raise nothing_found(inputs, survey.passed_over)
    repeated = survey.repeated()
    block = -(-block // BATCH) * BATCH or choose_block(len(survey.hashes), workers)
    named = _named(spool, survey.has_patients)
    source = Path(inputs[0]) if len(inputs) == 1 else Path("the inputs together")
    films = _write_rows(folder / LIST, _once(named, repeated, Repeats(source, survey.passed_over)), block)
    spool.unlink()
    counted = {reason: count for reason, count in sorted(survey.passed_over.items()) if count}
    return FilmList(folder, films, block, tuple(survey.metadata), counted)


class ListReader:
    """Reads blocks of a finished list; one file stays open."""

    def __init__(self, folder: Path) -> None:
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(folder / LIST)

    def read(self, block: int) -> list[ImageRecord]:
        """The films of one block, in order; the first has the number `block` × films in a block."""
        return [_as_record(row) for row in self._file.read_row_group(block).to_pylist()]


def _find(
    inputs: Sequence[str], folder: Path, classes: Sequence[str], findings: Sequence[str], passed_over: Counter[str]
) -> Iterator[ImageRecord]:
    for text in map(as_input, inputs):
        if not is_uri(text):
            yield from stream_films(Path(text), classes, findings=findings, passed_over=passed_over)
        elif is_table(Path(text)):
            copy = copy_table(text, folder)
            yield from stream_rows(copy, Path(text), findings)
            copy.unlink()
        else:
            root = Path(text)
            yield from (unlabelled(film, root, classes) for film in list_films(text, passed_over))


def _spooled(records: Iterable[ImageRecord], survey: _Survey, split: str) -> Iterator[ImageRecord]:
    for record in records:
        if split and record.split != split:
            continue
        survey.hashes.append(_hash(record.path))
        survey.metadata.update(dict.fromkeys(record.metadata))
        survey.has_patients = survey.has_patients or bool(record.patient)
        yield record


def _named(spool: Path, has_patients: bool) -> Iterator[ImageRecord]:
    """The spool's films with a patient each."""
    grammar: Grammar | None = None
    tagged = TaggedPatients({})
    if not has_patients:
        grammar, tagged = _read_patients(spool)
    for records in _read_rows(spool):
        known = [dataclasses.replace(r, patient=r.patient or tagged.by_path.get(r.path, "")) for r in records]
        yield from name_patients(known, grammar)


def _read_patients(spool: Path) -> tuple[Grammar | None, TaggedPatients]:
    with_tags: list[Path] = []
    vote = GrammarVote()
    for records in _read_rows(spool):
        paths = [record.path for record in records]
        local = [path for path in paths if not is_uri(str(path))]
        tagged = dicom_films(local) if dicom_library.is_installed() else []
        with_tags += tagged
        vote.count(set(paths) - set(tagged))
    return vote.winner(), read_tagged_patients(with_tags)


def _once(records: Iterable[ImageRecord], repeated: frozenset[int], repeats: Repeats) -> Iterator[ImageRecord]:
    for row, record in enumerate(records):
        if _hash(record.path) not in repeated or repeats.is_new(row, record):
            yield record


def _hash(path: Path) -> int:
    return int.from_bytes(hashlib.blake2b(os.fsencode(path), digest_size=8).digest(), "little")


def _write_rows(path: Path, records: Iterable[ImageRecord], block: int = _ROWS_AT_ONCE) -> int:
    """Write records with one row group a block; how many there were."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ("path", "label", "patient", "split", "findings", "metadata")
    schema = pa.schema([(name, pa.binary()) for name in names])
    count = 0
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for rows in _chunks(map(_as_row, records), block):
            count += len(rows)
            columns = [pa.array(column, pa.binary()) for column in zip(*rows, strict=True)]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=block)
    return count


def _chunks(rows: Iterator[tuple[bytes, ...]], size: int) -> Iterator[list[tuple[bytes, ...]]]:
    chunk: list[tuple[bytes, ...]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _read_rows(path: Path) -> Iterator[list[ImageRecord]]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    for group in range(file.num_row_groups):
        yield [_as_record(row) for row in file.read_row_group(group).to_pylist()]


# Bytes, because file names are bytes: one that is not valid UTF-8 must be found again.
def _as_row(record: ImageRecord) -> tuple[bytes, ...]:
    text = (
        str(record.path),
        record.label,
        record.patient,
        record.split,
        _json(record.findings),
        _json(record.metadata),
    )
    return tuple(map(os.fsencode, text))


def _as_record(row: Mapping[str, bytes]) -> ImageRecord:
    text = {name: os.fsdecode(value) for name, value in row.items()}
    return ImageRecord(
        Path(text["path"]),
        label=text["label"],
        patient=text["patient"],
        split=text["split"],
        findings=json.loads(text["findings"] or "{}"),
        metadata=json.loads(text["metadata"] or "{}"),
    )


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value)) if value else ""
