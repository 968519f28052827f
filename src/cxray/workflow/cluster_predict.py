"""`cxray cluster predict`: any number of films, on a Ray cluster or all cores of this machine, nothing lost.

    inputs ─► list of films ─► blocks ─► workers ─► a part a block ─► reconciled with the list ─► one table

The folder `.work` in the results holds the list, the bundle, the parts and the marks of attempts until the table is
whole; with it any killed run goes on, also on the other kind of machine. The table is that of `cxray predict`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from cxray import progress, rundir
from cxray.bundle import Bundle, load_bundle
from cxray.cluster import pool, session
from cxray.cluster.film_list import ListReader, write_film_list
from cxray.cluster.locations import as_input, location
from cxray.cluster.nodes import check_nodes
from cxray.cluster.parts import PARTS, write_unfinished
from cxray.cluster.score import ATTEMPTS, Job, Marks, Outcome
from cxray.data.dicom import library as dicom_library
from cxray.data.dicom.admission import ACCEPT_VARIABLE
from cxray.errors import OutputError, PartialResult, UsageError
from cxray.runtime.engine import BATCH as ENGINE_BATCH
from cxray.runtime.engine import usable_cores
from cxray.runtime.gate import Drift, Gate, drift
from cxray.runtime.predict import Predictor

FEATURE = "Scoring on a cluster"
WORK, JOB = ".work", "job.json"
TABLE, DEAD_LETTERS, UNFINISHED = "predictions.parquet", "dead_letters.csv", "unfinished.csv"
# Rounds over the blocks that are left; each must get further than the one before.
MOST_ROUNDS = 10
MOST_LISTED = 100_000
UNKNOWN_REASON = "its worker or its node was lost each time"
_KEPT = ("films", "failed", "where", "workers", "seconds")


@dataclasses.dataclass(frozen=True)
class ScoredOnCluster:
    """What was reached: films in the list, rows in the table, films without a result, and where it was done.

    `unfinished` counts films that have no row at all; then there is no table yet, and `problem` says why for the
    first of them.
    """

    out: Path
    films: int
    failed: int
    unfinished: int
    problem: str
    has_labels: bool
    where: str
    workers: int
    seconds: float
    drift: Drift | None = None

    def facts(self) -> dict[str, Any]:
        """For machines."""
        return {**dataclasses.asdict(self), "out": str(self.out), "table": str(self.out / TABLE)}

    def summary(self) -> str:
        """For people."""
        if self.unfinished:
            return f"{self.films - self.unfinished} of {self.films} films are scored and kept in {self.out}."
        lines = [
            f"{self.films} films scored once each on {self.where}, {self.failed} of them without a result. "
            f"Table: {self.out / TABLE}"
        ]
        if self.failed:
            lines.append(f"Those without, and why: {self.out / DEAD_LETTERS}")
        if self.drift and self.drift.alarm:
            lines.append(f"Beware: {self.drift.sentence()}")
        if self.has_labels:
            lines.append(f"Next:   cxray evaluate {self.out / TABLE} --out judged")
        return "\n".join(lines)

    def check(self) -> None:
        """Raise what is not as it should be.

        Raises:
            OutputError, PartialResult: films are missing from the table, or have no result in it.
        """
        if self.unfinished:
            kind = OutputError if "Cannot write" in self.problem else PartialResult
            raise kind(
                f"{self.unfinished} of {self.films} films are not scored, the first because: {self.problem}",
                f"They are listed in {self.out / UNFINISHED}; go on with the same command and --resume.",
            )
        if self.failed:
            raise PartialResult(
                f"{self.failed} of {self.films} films have no result, the first because: {self.problem}",
                f"They are listed in {self.out / DEAD_LETTERS}; the others are in the table.",
            )


@dataclasses.dataclass(frozen=True)
class _Wish:
    """What makes two calls the same work, as it is kept in the folder."""

    model: str
    inputs: tuple[str, ...]
    split: str
    engine: str
    block: int


@dataclasses.dataclass(frozen=True)
class _How:
    """Where the work was done, by how many workers, and when it began."""

    where: str
    workers: int
    started: float

    def seconds(self) -> float:
        return round(time.monotonic() - self.started, 1)


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where the work is done, and how."""

    where: str
    workers: int
    run: Callable[[Job, Sequence[int], int], Generator[Outcome, None, None]]
    cluster: session.Cluster | None = None


@dataclasses.dataclass(frozen=True)
class Options:
    """How to score.

    `address` as `session.choose_address`; `workers` processes, 0 = one a logical processor; `block` films in one piece
    of work, 0 = by their number; `engine` "onnxruntime", "openvino", or "auto": measured here, then the same on every
    node; after `film_seconds` the decoding of a film is ended; `split` keeps only films of that split.
    """

    address: str = ""
    workers: int = 0
    block: int = 0
    engine: str = "onnxruntime"
    film_seconds: float = 120.0
    split: str = ""


def predict(
    bundle: Path,
    films: Sequence[str],
    out: Path,
    options: Options = Options(),
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> ScoredOnCluster:
    """Score films with a bundle on a cluster, or with all cores of this machine.

    Args:
        bundle: the bundle's folder (or the run's).
        films: tables, folders or films, each a path or a URI.
        out: folder for the results; on a cluster, on storage that all nodes share.
        options: where and how.
        resume: go on where an earlier call stopped. overwrite: replace earlier results.

    Raises:
        UsageError, DataError, LabelError, BundleError: nothing could be scored.
        ClusterError, MissingExtra: the cluster cannot be reached or cannot do the work.
        OutputError: the results could not be written.
    """
    started = time.monotonic()
    chosen = session.choose_address(options.address)
    loaded = load_bundle(bundle)
    wish = _Wish(loaded.identifier, tuple(map(as_input, films)), options.split, options.engine, options.block)
    rundir.check_folder(out, overwrite=overwrite, resume=resume)
    with _placed(chosen, options.workers) as place:
        rundir.prepare_folder(out, overwrite=overwrite, resume=resume)
        with _clean_if_not_begun(out):
            job = _prepare(loaded, wish, out, place, options.film_seconds)
        problems = _work(job, place)
    how = _How(place.where, place.workers, started)
    left = job.parts.missing()
    return _stop(out, job, left, problems, how) if left else _finish(out, job, wish, loaded, how)


@contextlib.contextmanager
def _placed(address: str, workers: int) -> Iterator[_Place]:
    if address == session.POOL:
        yield _Place("this machine", workers or usable_cores(), pool.run)
        return
    with session.connected(address, feature=FEATURE) as cluster:
        from cxray.cluster import on_ray

        count = min(workers or cluster.cpus, cluster.cpus)
        nodes = f"{len(cluster.nodes)} node{'s' if len(cluster.nodes) > 1 else ''}"
        yield _Place(f"{nodes} of Ray {cluster.ray_version}", count, on_ray.run, cluster)


def _prepare(bundle: Bundle, wish: _Wish, out: Path, place: _Place, film_seconds: float) -> Job:
    """The job of this folder: the one that an earlier call began, or a new one."""
    work = out.absolute() / WORK
    kept = _read_job(out, wish)
    engine = kept.engine if kept else _engine(bundle, wish.engine)
    _check_place(place, engine, out)
    if kept is not None:
        return dataclasses.replace(kept, film_seconds=film_seconds, work=str(work))
    shutil.rmtree(work, ignore_errors=True)
    for folder in (work, work / PARTS, work / ATTEMPTS):
        _make(folder)
    progress.say("Looking for films …")
    findings = bundle.classes if bundle.task == "findings" else ()
    found = write_film_list(
        wish.inputs, work, classes=bundle.classes, findings=findings, split=wish.split,
        block=wish.block, workers=place.workers,
    )  # fmt: skip
    for reason, count in found.passed_over.items():
        progress.say(f"Passed over: {count} × {reason}.")
    try:
        shutil.copytree(bundle.folder, work / "bundle")
    except OSError as error:
        raise rundir.output_error(work / "bundle", error) from error
    job = Job(
        work=str(work), base=str(Path.cwd()), model=bundle.identifier, engine=engine, films=found.films,
        block=found.block, metadata=found.metadata, film_seconds=film_seconds,
        dicom_accept=os.environ.get(ACCEPT_VARIABLE, ""),
    )  # fmt: skip
    rundir.write_json(work / JOB, {"wish": dataclasses.asdict(wish), "job": dataclasses.asdict(job)})
    return job


def _make(folder: Path) -> None:
    try:
        folder.mkdir()
    except OSError as error:
        raise rundir.output_error(folder, error) from error


def _engine(bundle: Bundle, wanted: str) -> str:
    """The engine by its name, after the golden film got its scores on it here."""
    if wanted == "auto":
        from cxray.runtime.choice import fastest

        wanted = fastest(bundle.graph, 1, ENGINE_BATCH)
    return Predictor.open(bundle.folder, wanted, threads=1).engine.name


def _read_job(out: Path, wish: _Wish) -> Job | None:
    path = out / WORK / JOB
    if rundir.is_complete(out):
        shutil.rmtree(out / WORK, ignore_errors=True)
        raise UsageError(f"{out} is whole already; there is nothing to resume.", "See its predictions.parquet.")
    if not path.is_file():
        return None
    kept = json.loads(path.read_text("utf-8"))
    for name, now in dataclasses.asdict(wish).items():
        before = kept["wish"][name]
        if (list(now) if isinstance(now, tuple) else now) != before:
            raise UsageError(
                f"{out} was begun with {name} = {before!r}, this call has {now!r}.",
                "Resume with the command that began it, or pass --overwrite instead of --resume.",
            )
    job = {**kept["job"], "metadata": tuple(kept["job"]["metadata"])}
    return Job(**job)


def _check_place(place: _Place, engine: str, out: Path) -> None:
    if place.cluster is None:
        return
    needed = ["cxray", "pyarrow", engine, *(["pydicom", "imagecodecs"] if dicom_library.is_installed() else [])]
    check_nodes(place.cluster, modules=needed, extra="cluster,dicom", folder=out.absolute())


@contextlib.contextmanager
def _clean_if_not_begun(out: Path) -> Iterator[None]:
    """Leave nothing behind when the work cannot begin, so that the same command can simply be given again."""
    try:
        yield
    except BaseException:
        if not (out / WORK / JOB).exists() and not rundir.is_complete(out):
            shutil.rmtree(out / WORK, ignore_errors=True)
            (out / rundir.MARKER).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # it held something of the user's
                out.rmdir()
        raise


def _work(job: Job, place: _Place) -> list[Outcome]:
    """Rounds over the blocks that have no part; what went wrong in the last one."""
    parts, marks = job.parts, Marks(Path(job.work))
    marks.forgive()
    left, problems = parts.missing(), list[Outcome]()
    if len(left) < parts.blocks:
        progress.say(f"Resuming: {job.films - parts.films_in(left)} of {job.films} films are done.")
    for _ in range(MOST_ROUNDS):
        if not left:
            break
        try:
            problems = _round(job, place, left)
        except KeyboardInterrupt:
            marks.forget()
            done = job.films - parts.films_in(parts.missing())
            progress.say(f"Stopped. {done} of {job.films} films are done; --resume goes on from there.")
            raise
        before, left = left, parts.missing()
        if left:
            reason = problems[0].problem if problems else UNKNOWN_REASON
            progress.say(f"{len(left)} blocks are not done, the first because: {reason}")
        if len(left) == len(before):
            break
    return problems


def _round(job: Job, place: _Place, left: Sequence[int]) -> list[Outcome]:
    workers, films = min(place.workers, len(left)), job.parts.films_in(left)
    progress.say(f"{films} films in {len(left)} blocks for {workers} workers on {place.where}.")
    problems = []
    with (
        progress.counted(total=films, what="Predicting") as advance,
        contextlib.closing(place.run(job, left, workers)) as outcomes,
    ):
        for outcome in outcomes:
            if outcome.problem:
                problems.append(outcome)
            else:
                advance(outcome.films)
    return problems


def _stop(out: Path, job: Job, left: Sequence[int], problems: Sequence[Outcome], how: _How) -> ScoredOnCluster:
    """Say which films have no row, and why; what was done stays."""
    reasons = {outcome.block: outcome.problem for outcome in problems}
    write_unfinished(out / UNFINISHED, itertools.islice(_unfinished(job, left, reasons), MOST_LISTED))
    problem = next((reasons[block] for block in left if block in reasons), UNKNOWN_REASON)
    return ScoredOnCluster(
        out, job.films, 0, job.parts.films_in(left), problem, False, how.where, how.workers, how.seconds()
    )


def _unfinished(job: Job, left: Sequence[int], reasons: dict[int, str]) -> Iterator[tuple[str, str]]:
    films = ListReader(Path(job.work))
    for block in left:
        for record in films.read(block):
            yield location(record.path), reasons.get(block, UNKNOWN_REASON)


def _finish(out: Path, job: Job, wish: _Wish, bundle: Bundle, how: _How) -> ScoredOnCluster:
    """Make the parts one table, close the folder, and only then drop the parts."""
    progress.say("Putting the table together …")
    found = job.parts.gather(out / TABLE, out / DEAD_LETTERS)
    (out / UNFINISHED).unlink(missing_ok=True)
    gate = Gate.of(bundle)
    scored = ScoredOnCluster(
        out, found.films, found.failed, 0, found.first_error, found.has_labels, how.where, how.workers, how.seconds(),
        drift(gate, found.gate) if gate else None,
    )  # fmt: skip
    facts = {"command": "cluster predict", **dataclasses.asdict(wish), "engine": job.engine, "gate": dict(found.gate)}
    rundir.write_manifest(out, {**facts, **{name: scored.facts()[name] for name in _KEPT}})
    shutil.rmtree(out / WORK, ignore_errors=True)
    return scored
