"""What a worker does, on Ray and in the local pool alike: one block of films to one part, at most a few times.

Every attempt leaves a mark before it begins. A block whose earlier attempt left a mark and no part has lost a worker:
perhaps to one of its films, so it is read film by film in a child process. After `MOST_ATTEMPTS` the block is given up
and said so. A film that hangs a decoder ends the worker after `film_seconds`, and with it the attempt.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cxray.cluster.careful import ChildReader
from cxray.cluster.film_list import ListReader
from cxray.cluster.locations import is_uri, location, read_located
from cxray.cluster.parts import Parts
from cxray.config import InputCard
from cxray.data.dicom.admission import ACCEPT_VARIABLE
from cxray.errors import BundleError, CxrayError, OutputError
from cxray.records import ImageRecord, Predictions
from cxray.runtime.predict import Answer, Predictor, ReadyFilm, as_table
from cxray.tables import text_column

ATTEMPTS = "attempts"
MOST_ATTEMPTS = 4
# Batches under way in a worker of one processor: one waits for the storage while the other is scored.
BATCHES_AT_ONCE = 2
_ALARM_EVERY_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class Job:
    """Everything that a worker needs to know; plain values, because it travels between machines.

    `work` is the folder of the job on storage that all nodes share, with the bundle in it; `base` is where relative
    paths of films start; `threads` are those of one inference; `dicom_accept` is the driver's CXRAY_DICOM_ACCEPT, so
    that every node refuses the same films.
    """

    work: str
    base: str
    model: str
    engine: str
    films: int
    block: int
    metadata: tuple[str, ...]
    threads: int = 1
    film_seconds: float = 120.0
    dicom_accept: str = ""

    @property
    def parts(self) -> Parts:
        """Where the results go."""
        return Parts(Path(self.work), self.films, self.block)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a block: how many films were scored, how many of them without a result, or why it has no part.

    `unwritten` says that only writing failed, which another machine may do better.
    """

    block: int
    films: int = 0
    failed: int = 0
    problem: str = ""
    unwritten: bool = False


class Scorer:
    """A verified bundle in a worker.

    Raises:
        BundleError: the bundle is not the job's, or gives other scores here.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        os.environ[ACCEPT_VARIABLE] = job.dicom_accept
        folder = Path(job.work)
        self._predictor = Predictor.open(folder / "bundle", job.engine, threads=job.threads)
        if self._predictor.bundle.identifier != job.model:
            raise BundleError(f"{folder / 'bundle'} is not the bundle of this job.", "Start the job anew.")
        self._list = ListReader(folder)

    def score(self, block: int) -> Outcome:
        """Score one block and write its part; a block that has its part is not done again."""
        parts = self.job.parts
        if parts.path(block).exists():
            return Outcome(block, films=len(parts.numbers(block)))
        marks = Marks(Path(self.job.work))
        attempt = marks.begin(block)
        if attempt > MOST_ATTEMPTS:
            return Outcome(block, problem=f"given up after {MOST_ATTEMPTS} attempts, each of which ended its worker")
        try:
            outcome = self._score(block, careful=attempt > 1)
        except Exception as error:  # the worker lives and says what it was; the next attempt need not be a careful one
            marks.end(block)
            what = str(error) if isinstance(error, CxrayError) else f"{type(error).__name__}: {error}"
            return Outcome(block, problem=f"{what} (on {platform.node()})", unwritten=isinstance(error, OutputError))
        marks.end(block)
        return outcome

    def _score(self, block: int, *, careful: bool) -> Outcome:
        records = self._list.read(block)
        if careful:
            with ChildReader(self.job.film_seconds) as child:
                answers = self._answers(records, child.read, 1)
        else:
            with _alarm(self.job.film_seconds) as watched:
                answers = self._answers(records, watched, BATCHES_AT_ONCE)
        table = _located(as_table(self._predictor.bundle, answers, self.job.metadata, with_facts=True))
        self.job.parts.write(block, table.columns())
        return Outcome(block, len(records), sum(bool(answer.error) for answer in answers))

    def _answers(
        self, records: Sequence[ImageRecord], read: Callable[[Path, InputCard], ReadyFilm], batches: int
    ) -> list[Answer]:
        base = Path(self.job.base)

        def read_from_base(path: Path, card: InputCard) -> ReadyFilm:
            return read(path if is_uri(str(path)) else base / path, card)

        return list(self._predictor.stream(records, read=read_from_base, workers=batches))


class Marks:
    """How often each block was begun without an end: one byte an attempt in a file a block."""

    def __init__(self, work: Path) -> None:
        self._folder = work / ATTEMPTS

    def begin(self, block: int) -> int:
        """Count one more attempt; which one it is, 1 for the first."""
        with self._path(block).open("ab") as stream:
            stream.write(b".")
            return stream.tell()

    def end(self, block: int) -> None:
        """The attempt ended by itself."""
        self._path(block).unlink(missing_ok=True)

    def forgive(self) -> None:
        """Before a new run: all attempts again for every block, but careful ones where a worker died."""
        for path in self._folder.iterdir():
            path.write_bytes(b".")

    def forget(self) -> None:
        """After the user stopped the work: no film is to blame."""
        for path in self._folder.iterdir():
            path.unlink(missing_ok=True)

    def _path(self, block: int) -> Path:
        return self._folder / f"{block:08d}"


def _located(table: Predictions) -> Predictions:
    """The table with URIs as they are typed."""
    return dataclasses.replace(table, path=text_column(location(Path(text)) for text in table.path))


@contextmanager
def _alarm(film_seconds: float) -> Iterator[Callable[[Path, InputCard], ReadyFilm]]:
    """`read_located` that ends this process when no film was finished for `film_seconds`.

    A decoder that hangs holds Python's lock, so only a timer outside Python can end it: faulthandler's.
    """
    with Path(os.devnull).open("w") as nowhere:
        armed = 0.0

        def arm() -> None:
            nonlocal armed
            now = time.monotonic()
            if now - armed >= _ALARM_EVERY_SECONDS:
                armed = now
                faulthandler.dump_traceback_later(film_seconds + _ALARM_EVERY_SECONDS, exit=True, file=nowhere)

        def read(path: Path, card: InputCard) -> ReadyFilm:
            try:
                return read_located(path, card)
            finally:
                arm()

        arm()
        try:
            yield read
        finally:
            faulthandler.cancel_dump_traceback_later()
