"""An append-only log of what was answered, without patient data: one JSON line a film, each chained to the one before.

A line holds time, request id, model, decision, score, gate verdict or refusal code, and `film`: an HMAC-SHA256 of the
file's bytes under a random key kept beside the log (`NAME.key`, readable by the owner only). Whoever holds film and
key can find its line; the log alone says nothing about whose film it was. `previous` is the SHA-256 of the line before,
so a line that is changed or taken out breaks the chain; `verify` finds where.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import time
from pathlib import Path
from typing import Any

from cxray.errors import DataError, OutputError
from cxray.serve.problems import Problem

FIRST = "0" * 64


class AuditLog:
    """Appends to `path`; an existing log is continued after its chain was checked.

    Raises:
        OutputError: the file or its key cannot be opened.
        DataError: the existing chain is broken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._previous = verify(path) if path.exists() else FIRST
            self._key = _open_key(path.with_name(path.name + ".key"))
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise OutputError(
                f"The audit log {path} cannot be opened: {error.strerror}.", "Check --audit-log."
            ) from error

    def append(self, content: bytes, **facts: Any) -> None:
        """Write one line about the film with these bytes.

        Raises:
            Problem: the line could not be written; the answer must then be withheld.
        """
        film = hmac.new(self._key, content, hashlib.sha256).hexdigest()
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = json.dumps({"time": moment, "film": film, **facts, "previous": self._previous}).encode() + b"\n"
        try:
            if os.write(self._file, line) != len(line):
                raise OSError("short write")
        except OSError as error:
            raise Problem("audit_unavailable") from error
        self._previous = hashlib.sha256(line).hexdigest()

    def close(self) -> None:
        """Flush to disk and close."""
        os.fsync(self._file)
        os.close(self._file)


def verify(path: Path) -> str:
    """Check the chain of a log and return the hash that its next line must carry.

    Raises:
        DataError: a line is no line of ours, or does not follow the one before; names the line.
    """
    previous = FIRST
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                found = json.loads(line)["previous"]
            except (ValueError, KeyError, TypeError):
                found = None
            if found != previous or not line.endswith(b"\n"):
                raise DataError(
                    f"{path}, line {number}: the chain of the audit log is broken.",
                    "Keep this file as evidence and start a new log under another name.",
                )
            previous = hashlib.sha256(line).hexdigest()
    return previous


def _open_key(path: Path) -> bytes:
    if path.exists():
        return bytes.fromhex(path.read_text("ascii").strip())
    key = secrets.token_bytes(32)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(key.hex() + "\n")
    return key
