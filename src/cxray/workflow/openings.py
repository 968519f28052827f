"""Who has looked at these films before? A log of every opening of a test table, appended to and never rewritten.

Each judgement of films that are not wholly training or validation films adds one line. The log is named by the hash of
the *films* (names and truth, not scores), because a second model judged on the same films is a second look at the same
test. It lies in the user's state folder (`CXRAY_STATE`, else `XDG_STATE_HOME/cxray`, else `~/.local/state/cxray`):
beside the results it would go when they are overwritten, beside the table it would be left behind when that is copied.
A judgement under a protocol writes the same line also beside the protocol, where a team shares it and version control
keeps it; both are read as one. Every line names the hash of the line before it, so a line taken out is noticed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from cxray import __version__
from cxray.evaluate.screening import fingerprint
from cxray.records import Predictions
from cxray.rundir import output_error, printable

_LISTED = 50


@dataclasses.dataclass(frozen=True)
class Opening:
    """One line of a log: when (UTC), of which films, with which table, and under which protocol ("" for none)."""

    at: str
    films_sha256: str
    table_sha256: str
    films: int
    source: str
    purpose: str
    protocol: str = ""
    cxray: str = __version__

    def to_dict(self) -> dict[str, Any]:
        """The line as JSON takes it."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class History:
    """Earlier openings of the same films, oldest first; `is_intact` is False when a line was taken out or changed."""

    openings: tuple[Opening, ...]
    is_intact: bool

    @property
    def first(self) -> datetime.datetime | None:
        """When these films were first opened; None when never."""
        return min((datetime.datetime.fromisoformat(one.at) for one in self.openings), default=None)


def opening_of(table: Predictions, *, source: str, purpose: str, protocol: str = "") -> Opening | None:
    """The line that judging `table` adds; None when all its films are training or validation films."""
    tested = ~np.isin(table.split.astype(str), ("train", "validation"))
    if not tested.any():
        return None
    return Opening(
        # To the microsecond, because lines of two logs are one opening when they are equal.
        at=datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds"),
        films_sha256=films_hash(table.select(tested)),
        table_sha256=fingerprint(table),
        films=int(tested.sum()),
        source=Path(source).name,
        purpose=purpose,
        protocol=protocol,
    )


def films_hash(table: Predictions) -> str:
    """SHA-256 of which films these are and what is true of them: names and labels, in any order, without scores."""
    truth = table.label.astype(str) if table.findings is None else [str(row.tolist()) for row in table.findings]
    names = [str(path).replace("\\", "/").rpartition("/")[2] for path in table.path]
    lines = sorted(f"{name}\x1f{label}" for name, label in zip(names, truth, strict=True))
    return hashlib.sha256("\x1e".join(lines).encode("utf-8", "backslashreplace")).hexdigest()


def state_folder() -> Path:
    """Where the logs lie: `CXRAY_STATE`, else `XDG_STATE_HOME/cxray`, else `~/.local/state/cxray`."""
    if os.environ.get("CXRAY_STATE"):
        return Path(os.environ["CXRAY_STATE"])
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "cxray"


def log_paths(opening: Opening, protocol: Path | None) -> tuple[Path, ...]:
    """The logs that `opening` is written to: the user's own, and the one beside the protocol."""
    own = state_folder() / "openings" / f"{opening.films_sha256}.jsonl"
    return (own,) if protocol is None else (own, protocol.with_name(protocol.name + ".openings.jsonl"))


def history(opening: Opening, logs: Sequence[Path]) -> History:
    """The earlier openings of the films of `opening`, from all `logs`."""
    found: dict[str, Opening] = {}
    is_intact = True
    for path in logs:
        lines = _read_lines(path)
        is_intact &= _is_chained(lines)
        for line in lines:
            one = _parsed(line)
            is_intact &= one is not None
            if one is not None and one.films_sha256 == opening.films_sha256:
                found[json.dumps(one.to_dict(), sort_keys=True)] = one
    return History(tuple(sorted(found.values(), key=lambda one: one.at)), is_intact)


def record(opening: Opening, logs: Sequence[Path]) -> None:
    """Append `opening` to every one of `logs`.

    Raises:
        OutputError: a log cannot be written; a look at the test films that leaves no trace is refused.
    """
    for path in logs:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a+", encoding="utf-8", newline="\n") as stream, _alone(stream):
                stream.seek(0)
                lines = stream.read().splitlines()
                entry = {**opening.to_dict(), "previous": _hash(lines[-1]) if lines else ""}
                stream.write(printable(json.dumps(entry, ensure_ascii=False, sort_keys=True)) + "\n")
        except OSError as error:
            raise output_error(path, error) from error


def note(table: Predictions, *, source: str, purpose: str) -> None:
    """Log one opening of the test films of `table` in the user's own log; nothing when it holds none.

    Raises:
        OutputError: the log cannot be written.
    """
    opening = opening_of(table, source=source, purpose=purpose)
    if opening is not None:
        record(opening, log_paths(opening, None))


def facts(opening: Opening, earlier: History) -> dict[str, Any]:
    """What a report shows: how often these films were opened, this time included, and with how many tables."""
    tables = {one.table_sha256 for one in (*earlier.openings, opening)}
    return {
        "films_sha256": opening.films_sha256,
        "films": opening.films,
        "count": len(earlier.openings) + 1,
        "different_tables": len(tables),
        "first": earlier.openings[0].at if earlier.openings else opening.at,
        "this": opening.at,
        "is_intact": earlier.is_intact,
        "earlier": [one.to_dict() for one in earlier.openings[-_LISTED:]],
    }


def warnings(known: dict[str, Any], tables: int = 1) -> list[str]:
    """Whole sentences about repeated looks at the same films, of which `tables` are those at hand."""
    said = []
    if known["different_tables"] > tables:
        said.append(
            f"These test films were opened {known['count']} times with {known['different_tables']} different tables of "
            "predictions; the best of several looks is better than the model is."
        )
    if not known["is_intact"]:
        said.append("The log of openings was edited: a line is missing or changed, so more looks may have been taken.")
    return said


@contextlib.contextmanager
def _alone(stream: IO[str]) -> Iterator[None]:
    """Keep other processes from appending in between; Windows has no such lock for text files, and goes without."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    fcntl.flock(stream.fileno(), fcntl.LOCK_EX)
    try:
        yield
        stream.flush()
    finally:
        fcntl.flock(stream.fileno(), fcntl.LOCK_UN)


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        problem = error if isinstance(error, OSError) else OSError(str(error))
        raise output_error(path, problem) from error


def _is_chained(lines: Sequence[str]) -> bool:
    previous = ""
    for line in lines:
        try:
            if json.loads(line).get("previous", "") != previous:
                return False
        except (ValueError, AttributeError):
            return False
        previous = _hash(line)
    return True


def _parsed(line: str) -> Opening | None:
    known = {field.name for field in dataclasses.fields(Opening)}
    try:
        one = Opening(**{key: value for key, value in json.loads(line).items() if key in known})
        datetime.datetime.fromisoformat(one.at)
    except (ValueError, TypeError, AttributeError):
        return None
    return one


def _hash(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()
