"""Streaming prediction: every core takes a few films from file to answer; the order is kept, memory does not grow.

    records ─► (bounded window of batches) ─► one worker a core: read, engine, gate ─► answers, in order

A core that reads its own films and runs the engine on them alone loses nothing to waiting: for whole streams that is
faster than all cores on one batch with decoders beside it, which fight for the same cores. At most `WINDOW_BATCHES`
batches a worker are under way. A film that cannot be read becomes a row with an `error`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray import progress
from cxray.bundle import GOLDEN, GOLDEN_TOLERANCE, Bundle, load_bundle
from cxray.config import InputCard
from cxray.data.decode import decode_file
from cxray.data.prepare import as_model_input, prepare, prepare_file
from cxray.errors import BundleError, UnreadableImage
from cxray.evaluate.audited import COLUMN as AUDIT_COLUMN
from cxray.evaluate.audited import as_cell
from cxray.records import SCORE_PREFIX, ImageRecord, Predictions
from cxray.runtime.engine import BATCH, Engine, open_engine, usable_cores
from cxray.runtime.gate import Gate, Verdict
from cxray.tables import text_column

WINDOW_BATCHES = 4
# Of probabilities, for arithmetic of fewer bits than float32 that the user asked for by name.
REDUCED_TOLERANCE = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What the model says about one film: probabilities (K,), NaN with an `error`; `features` (F,) when asked for.

    `verdict` is the input gate's, None without a gate or with an `error`. `facts` names the liberties that were taken
    in reading the film.
    """

    record: ImageRecord
    scores: npt.NDArray[np.float64]
    error: str = ""
    features: npt.NDArray[np.float32] | None = None
    verdict: Verdict | None = None
    facts: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class ReadyFilm:
    """A film ready for the engine: uint8 (height, width) and what was done to get there."""

    film: npt.NDArray[np.uint8]
    facts: tuple[str, ...]


Reader = Callable[[Path, InputCard], ReadyFilm]


class Predictor:
    """A verified bundle on an engine."""

    def __init__(self, bundle: Bundle, engine: Engine, *, tolerance: float = GOLDEN_TOLERANCE, runs: int = 1) -> None:
        self.bundle, self.engine, self.tolerance, self.runs = bundle, engine, tolerance, runs
        self.gate = Gate.of(bundle)
        self._verify()

    @classmethod
    def open(
        cls, folder: Path, engine: str = "auto", *, threads: int = 0, runs: int = 1, precision: str = "float32"
    ) -> Predictor:
        """Load a bundle and check that this engine gives the golden scores.

        `threads` and `runs` as in `open_engine`: for long streams one thread and as many runs as cores are fastest, for
        single films all threads and one run. `precision` "bfloat16" is faster on processors that know it; the golden
        film may then be off by `REDUCED_TOLERANCE` in probability.

        Raises:
            BundleError: the bundle is damaged, or its golden film gets other scores here.
        """
        bundle = load_bundle(folder)
        tolerance = GOLDEN_TOLERANCE if precision == "float32" else REDUCED_TOLERANCE
        opened = open_engine(bundle.graph, engine, threads=threads, runs=runs, precision=precision)
        return cls(bundle, opened, tolerance=tolerance, runs=runs)

    @classmethod
    def for_streams(
        cls, folder: Path, engine: str = "auto", *, cores: int = 0, precision: str = "float32"
    ) -> Predictor:
        """As `open`, for scoring many films with `stream`: one thread an inference, `cores` of them at once (0 = all).

        Raises:
            BundleError: as `open`.
        """
        return cls.open(folder, engine, threads=1, runs=cores or usable_cores(), precision=precision)

    def scores(self, films: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Prepared films uint8 (N, height, width) to probabilities (N, K)."""
        return self.bundle.probabilities(self.engine.run(as_model_input(films))["logits"])

    def stream(
        self,
        records: Iterable[ImageRecord],
        *,
        keep_features: bool = False,
        read: Reader | None = None,
        workers: int = 0,
    ) -> Iterator[Answer]:
        """One answer a record, in order, as soon as its batch is done.

        `read` reads one film, `read_film` by default; `workers` is how many batches are read and scored at once; 0 = as
        many as the engine runs at once, or one a core.
        """

        def answered(batch: Sequence[ImageRecord]) -> list[Answer]:
            ready = [(record, _read_or_reason(record.path, self.bundle.card, read or read_film)) for record in batch]
            return list(self._answer(ready, keep_features))

        for answers in _ahead(_batches(records), answered, workers or self._workers()):
            yield from answers

    def predict(self, records: Sequence[ImageRecord], *, what: str = "Predicting") -> Predictions:
        """The whole predictions table for `records`, with progress on stderr."""
        answers = list(progress.track(self.stream(records), total=len(records), what=what))
        return as_table(self.bundle, answers)

    def _answer(self, batch: Sequence[tuple[ImageRecord, ReadyFilm | str]], keep_features: bool) -> Iterator[Answer]:
        readable = [ready.film for _, ready in batch if not isinstance(ready, str)]
        films = np.stack(readable) if readable else None
        outputs: Any = self.engine.run(as_model_input(films)) if films is not None else {}
        scores = iter(self.bundle.probabilities(outputs["logits"]) if readable else ())
        features = iter(outputs["features"] if readable else ())
        verdicts: Iterator[Verdict | None] = itertools.repeat(None)
        if self.gate is not None and films is not None:
            verdicts = iter(self.gate.judge(outputs["features"], films))
        unknown = np.full(len(self.bundle.classes), np.nan)
        for record, ready in batch:
            if isinstance(ready, str):
                yield Answer(record, unknown, error=ready)
            else:
                row = next(features)
                kept = row if keep_features else None
                yield Answer(record, next(scores), features=kept, verdict=next(verdicts), facts=ready.facts)

    def _workers(self) -> int:
        # With one run at a time the others still read films meanwhile.
        return self.runs if self.runs > 1 else usable_cores()

    def _verify(self) -> None:
        film = prepare_file(self.bundle.folder / GOLDEN, self.bundle.card)
        difference = float(np.abs(self.scores(film[np.newaxis])[0] - self.bundle.golden_scores).max())
        if not difference <= self.tolerance:
            raise BundleError(
                f"The golden film of {self.bundle.folder} gets scores that are off by {difference:.2g} on "
                f"{self.engine.name}; at most {self.tolerance:g} is accepted.",
                "Try --engine onnxruntime; if that fails too, copy the bundle again."
                if self.tolerance == GOLDEN_TOLERANCE
                else "This network does not bear fewer bits: leave out --precision.",
            )


def metadata_names(records: Iterable[ImageRecord]) -> tuple[str, ...]:
    """All names of metadata that any record has, in the order of their first appearance."""
    return tuple(dict.fromkeys(name for record in records for name in record.metadata))


def as_table(
    bundle: Bundle, answers: Sequence[Answer], metadata: Sequence[str] | None = None, *, with_facts: bool = False
) -> Predictions:
    """Answers as the predictions table of the file contract, with the bundle's decisions and frozen threshold.

    `metadata` names the columns of the input that are kept; without it, all that these answers' records have.
    `with_facts` adds the column `facts`: what was done to read each film, "" = it was taken as it is.
    """
    shape = (len(answers), len(bundle.classes))
    scores = np.array([answer.scores for answer in answers], dtype=np.float64).reshape(shape)
    predicted = [_most_probable(bundle, row) for row in scores]
    records = [answer.record for answer in answers]
    return Predictions(
        path=text_column(str(record.path) for record in records),
        classes=bundle.classes,
        scores=scores,
        label=text_column(record.label or "|".join(n for n, v in record.findings.items() if v) for record in records),
        patient=text_column(record.patient for record in records),
        split=text_column(record.split for record in records),
        predicted=text_column(predicted),
        decision=text_column(bundle.decide(scores)),
        gate=text_column(answer.verdict.answer if answer.verdict else "" for answer in answers),
        error=text_column(answer.error for answer in answers),
        findings=_findings(bundle, records),
        metadata=_metadata(bundle, answers, metadata_names(records) if metadata is None else metadata, with_facts),
    )


def read_film(path: Path, card: InputCard) -> ReadyFilm:
    """Decode and prepare one film from disk, at reduced JPEG scale where that is enough.

    Raises:
        UnreadableImage: as `decode_file` and `prepare`.
    """
    image = decode_file(path, at_least=max(card.height, card.width))
    return ReadyFilm(prepare(image, card, name=str(path)), image.facts)


def _batches(records: Iterable[ImageRecord]) -> Iterator[list[ImageRecord]]:
    left = iter(records)
    while batch := list(itertools.islice(left, BATCH)):
        yield batch


def _ahead(
    batches: Iterable[list[ImageRecord]], answered: Callable[[Sequence[ImageRecord]], list[Answer]], workers: int
) -> Iterator[list[Answer]]:
    """Answers of all batches in order, several at work at once, at most a window ahead of the consumer."""
    waiting: deque[Future[list[Answer]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for batch in batches:
                waiting.append(pool.submit(answered, batch))
                if len(waiting) >= workers * WINDOW_BATCHES:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _read_or_reason(path: Path, card: InputCard, read: Reader) -> ReadyFilm | str:
    try:
        return read(path, card)
    except UnreadableImage as error:
        return str(error)


def _most_probable(bundle: Bundle, row: npt.NDArray[np.float64]) -> str:
    if np.isnan(row).any():
        return ""
    if bundle.task == "findings":
        return "|".join(name for name, score in zip(bundle.classes, row, strict=True) if score >= 0.5)
    return bundle.classes[int(np.argmax(row))]


def _findings(bundle: Bundle, records: Sequence[ImageRecord]) -> npt.NDArray[np.float64] | None:
    if bundle.task != "findings":
        return None
    cells = [[record.findings.get(name) for name in bundle.classes] for record in records]
    return np.array([[np.nan if cell is None else float(cell) for cell in row] for row in cells], dtype=np.float64)


def _metadata(
    bundle: Bundle, answers: Sequence[Answer], names: Sequence[str], with_facts: bool
) -> dict[str, npt.NDArray[Any]]:
    records = [answer.record for answer in answers]
    columns = {"model": text_column(bundle.identifier for _ in records)}
    audit = as_cell(bundle.facts.get("audit"))
    if audit:
        columns[AUDIT_COLUMN] = text_column(audit for _ in records)
    if bundle.task == "classes" and bundle.positive in bundle.thresholds:
        columns["threshold"] = np.full(len(records), bundle.thresholds[bundle.positive].value)
    if with_facts:
        columns["facts"] = text_column("; ".join(answer.facts) for answer in answers)
    ours = {"predicted", "decision", "gate", "error", *columns, *bundle.classes}
    for name in names:
        # A column of the input that is called like one of ours keeps its values under another name.
        kept = f"input_{name}" if name in ours or name.startswith(SCORE_PREFIX) else name
        columns[kept] = text_column(record.metadata.get(name, "") for record in records)
    return columns
