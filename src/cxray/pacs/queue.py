"""The work queue: what happens to a film between its arrival and the delivery of its results.

    event     from      to        when
    add       -         waiting   the film lies in the spool
    claim     waiting   working   the worker takes it
    build     working   ready     the results lie in the outbox
    claim     ready     sending   the worker delivers them
    finish    sending   done      the PACS has them
    skip      working   done      nothing to report (our own result came back)
    put off   working   waiting   a fault, to be tried again
    put off   sending   ready     a fault, to be tried again
    rebuild   sending   waiting   the outbox is empty (the power went)
    bury      working   dead      tried too often
    bury      sending   dead      tried too often, or for too long
    revive    dead      waiting   a person says so

The queue is one SQLite file. Each event is one transaction that also keeps the counters, so a process may be killed
between any two instructions: on the next start `recover` returns what was being worked on. A job's key is a keyed hash;
no patient data and no UID is stored.
"""

from __future__ import annotations

import dataclasses
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STATES = ("waiting", "working", "ready", "sending", "done", "dead")
_TRANSITIONS = {
    ("claim", "waiting"): "working",
    ("claim", "ready"): "sending",
    ("build", "working"): "ready",
    ("finish", "sending"): "done",
    ("skip", "working"): "done",
    ("put off", "working"): "waiting",
    ("put off", "sending"): "ready",
    ("rebuild", "sending"): "waiting",
    ("bury", "working"): "dead",
    ("bury", "sending"): "dead",
    ("revive", "dead"): "waiting",
}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    key TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    added REAL NOT NULL,
    due REAL NOT NULL,
    claimed REAL NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    outcome TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_state ON jobs (state, due, added);
CREATE TABLE IF NOT EXISTS counters (
    name TEXT, label TEXT, value REAL NOT NULL, PRIMARY KEY (name, label)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cursors (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
Counts = Mapping[tuple[str, str], float]


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """One film to be worked on. `attempts` counts how often this step was begun; `added` is in seconds since 1970."""

    key: str
    state: str
    added: float
    attempts: int
    outcome: str
    reason: str


class Queue:
    """The queue in one file; safe for several threads and processes."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        # A commit lost with the power is found again: the film lies in the spool, which is flushed (`adopt`).
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_SCHEMA)
        path.chmod(0o600)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def add(self, key: str, counts: Counts | None = None) -> bool:
        """Queue a film that lies in the spool; False when it is known already, whatever its state."""
        now = time.time()
        with self._transaction() as database:
            added = database.execute(
                "INSERT OR IGNORE INTO jobs (key, state, added, due) VALUES (?, 'waiting', ?, ?)", (key, now, now)
            )
            is_new = added.rowcount == 1
            self._count(database, {("arrivals", "new" if is_new else "repeated"): 1, **(counts or {})})
        return is_new

    def state_of(self, key: str) -> str:
        """The state of a job, "" when it is unknown."""
        rows = self._read("SELECT state FROM jobs WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else ""

    def claim(self, *states: str) -> Job | None:
        """Take the next due job in one of `states` ("ready" before "waiting"), or None."""
        wanted = [state for state in ("ready", "waiting") if state in states]
        with self._transaction() as database:
            for state in wanted:
                row = database.execute(
                    "SELECT key, added, attempts, outcome, reason FROM jobs WHERE state = ? AND due <= ? "
                    "ORDER BY due, added LIMIT 1",
                    (state, time.time()),
                ).fetchone()
                if row is not None:
                    key, added, attempts, outcome, reason = row
                    target = _TRANSITIONS["claim", state]
                    database.execute(
                        "UPDATE jobs SET state = ?, claimed = ?, attempts = attempts + 1 WHERE key = ?",
                        (target, time.time(), key),
                    )
                    return Job(key, target, added, attempts + 1, outcome, reason)
        return None

    def move(self, event: str, job: Job, *, counts: Counts | None = None, **changes: str | float) -> None:
        """Let `event` happen to a job, with `changes` to its columns, and count in the same transaction.

        Raises:
            ValueError: the event cannot happen in the job's state.
        """
        if (event, job.state) not in _TRANSITIONS:
            raise ValueError(f"A job that is {job.state} cannot {event}.")
        target = _TRANSITIONS[event, job.state]
        columns = {"state": target, **changes}
        if event in ("build", "rebuild", "revive"):
            columns["attempts"] = 0  # each step has its own
        settings = ", ".join(f"{name} = ?" for name in columns)
        with self._transaction() as database:
            database.execute(f"UPDATE jobs SET {settings} WHERE key = ?", (*columns.values(), job.key))
            self._count(database, counts or {})

    def recover(self) -> int:
        """Return what a killed worker had taken; how many jobs."""
        with self._transaction() as database:
            films = database.execute("UPDATE jobs SET state = 'waiting' WHERE state = 'working'").rowcount
            results = database.execute(
                "UPDATE jobs SET state = 'ready', attempts = attempts - 1 WHERE state = 'sending'"
            ).rowcount
        return int(films + results)

    def adopt(self, keys: list[str]) -> int:
        """Queue spooled films that the queue does not know (the power went between spool and commit); how many."""
        return sum(self.add(key) for key in keys if not self.state_of(key))

    def jobs(self, state: str, limit: int = 100_000) -> list[Job]:
        """The jobs in one state, oldest first."""
        rows = self._read(
            "SELECT key, state, added, attempts, outcome, reason FROM jobs WHERE state = ? ORDER BY added LIMIT ?",
            (state, limit),
        )
        return [Job(*row) for row in rows]

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        found = {
            str(state): int(number) for state, number in self._read("SELECT state, COUNT(*) FROM jobs GROUP BY state")
        }
        return {state: found.get(state, 0) for state in STATES}

    def depth(self) -> int:
        """How many jobs are not finished."""
        rows = self._read("SELECT COUNT(*) FROM jobs WHERE state IN ('waiting', 'working', 'ready', 'sending')")
        return int(rows[0][0])

    def longest_step_seconds(self, *, since: float = 0.0) -> float:
        """For how long the job that is being worked on has been, among those taken after `since` (seconds since 1970);
        0 when there is none."""
        rows = self._read("SELECT MIN(claimed) FROM jobs WHERE state = 'working' AND claimed >= ?", (since,))
        return time.time() - float(rows[0][0]) if rows[0][0] is not None else 0.0

    def oldest_seconds(self) -> float:
        """The age of the oldest unfinished job; 0 when there is none."""
        rows = self._read("SELECT MIN(added) FROM jobs WHERE state IN ('waiting', 'working', 'ready', 'sending')")
        return time.time() - float(rows[0][0]) if rows[0][0] is not None else 0.0

    def count(self, counts: Counts) -> None:
        """Add to counters by (name, label)."""
        with self._transaction() as database:
            self._count(database, counts)

    def counters(self) -> dict[tuple[str, str], float]:
        """All counters by (name, label)."""
        return {(str(n), str(lab)): float(v) for n, lab, v in self._read("SELECT name, label, value FROM counters")}

    def cursor(self, name: str) -> int | None:
        """How far a source was read, or None."""
        rows = self._read("SELECT value FROM cursors WHERE name = ?", (name,))
        return int(rows[0][0]) if rows else None

    def set_cursor(self, name: str, value: int) -> None:
        """Remember how far a source was read."""
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (name, value))

    def _read(self, query: str, values: tuple[str | float, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @staticmethod
    def _count(database: sqlite3.Connection, counts: Counts) -> None:
        for (name, label), amount in counts.items():
            database.execute(
                "INSERT INTO counters VALUES (?, ?, ?) "
                "ON CONFLICT (name, label) DO UPDATE SET value = value + excluded.value",
                (name, label, amount),
            )
