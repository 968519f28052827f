"""The folder in which a node keeps its work, and the way a film gets into it without ever being half there.

    STATE/queue.sqlite3   what has to be done (queue.py)
          spool/          films that were accepted, one file each
          outbox/         results that were built and not yet delivered
          dead/           films that could not be finished, with the reason
          local/          results that stay here (dry run)
          key             secret of this folder
          lock-*          held by the one process that does this work here

Films are patient data: the folder is readable by its owner only. Files are named by a keyed hash of the film's UID, so
that no name, log line or metric identifies a film to anyone who does not hold the key, and a hostile UID is no path.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cxray import rundir
from cxray.errors import UsageError

_FOLDERS = ("spool", "outbox", "dead", "local")
_KEY_BYTES = 32


class State:
    """An opened state folder.

    Raises:
        UsageError: the folder holds something else, or is in use (`lock`).
        OutputError: it cannot be created or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._make()
        self._secret = self._read_or_make_secret()

    @property
    def queue(self) -> Path:
        """The database of the work queue."""
        return self.folder / "queue.sqlite3"

    def spooled(self, key: str) -> Path:
        """Where the film of a job lies."""
        return self.folder / "spool" / f"{key}.dcm"

    def outbox(self, key: str) -> Path:
        """The folder with the results of a job."""
        return self.folder / "outbox" / key

    def dead(self, key: str) -> Path:
        """The folder of a job that could not be finished."""
        return self.folder / "dead" / key

    def local(self, key: str) -> Path:
        """The folder with results that stay here."""
        return self.folder / "local" / key

    def key_of(self, sop_instance_uid: str, fingerprint: str) -> str:
        """The name of the job "this film by this model": 32 hexadecimal digits, of no meaning without the secret."""
        message = f"{fingerprint}:{sop_instance_uid}".encode()
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()[:32]

    def spool(self, key: str, content: bytes) -> None:
        """Store a film so that it survives a power cut, whole or not at all.

        Raises:
            OSError: no space, or the disk fails; nothing is left behind.
        """
        folder = self.folder / "spool"
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=".", suffix=".part")
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as stream:
                view = memoryview(content)
                while view:
                    view = view[stream.write(view) :]
                os.fdatasync(stream.fileno())
            Path(name).replace(self.spooled(key))
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _flush_folder(folder)

    def spooled_keys(self) -> list[str]:
        """The jobs whose films lie in the spool."""
        return [path.stem for path in (self.folder / "spool").glob("*.dcm")]

    def outbox_keys(self) -> list[str]:
        """The jobs whose results lie in the outbox."""
        return [path.name for path in (self.folder / "outbox").iterdir() if not path.name.startswith(".")]

    def sweep(self, folder: str) -> None:
        """Remove what a killed process left half-written in one folder; only for the process that writes there."""
        for part in (self.folder / folder).glob("**/.*.part"):
            if part.is_dir():
                shutil.rmtree(part, ignore_errors=True)
            else:
                part.unlink(missing_ok=True)

    def forget(self, key: str) -> None:
        """Remove film and results of a job that is done."""
        self.spooled(key).unlink(missing_ok=True)
        shutil.rmtree(self.outbox(key), ignore_errors=True)

    def free_bytes(self) -> int:
        """Free space where the films go."""
        return shutil.disk_usage(self.folder).free

    @contextlib.contextmanager
    def locked(self, what: str, *, wait_seconds: float = 0) -> Iterator[None]:
        """Be the only process that does `what` in this folder; wait so long for another one to end.

        Raises:
            UsageError: another one does it.
        """
        until = time.monotonic() + wait_seconds
        with (self.folder / f"lock-{what}").open("w") as stream:
            while True:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as error:
                    if time.monotonic() >= until:
                        raise UsageError(
                            f"Another process already works in {self.folder} ({what}).",
                            "Stop it first, or give another --state folder.",
                        ) from error
                time.sleep(0.05)
            yield

    def _make(self) -> None:
        is_new = not self.folder.exists() or not any(self.folder.iterdir())
        if not is_new and not (self.folder / rundir.MARKER).is_file():
            raise UsageError(f"{self.folder} holds files that are not ours.", "Choose an empty folder for --state.")
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folder.chmod(0o700)
            (self.folder / rundir.MARKER).touch()
            for name in _FOLDERS:
                (self.folder / name).mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise rundir.output_error(self.folder, error) from error

    def _read_or_make_secret(self) -> bytes:
        path = self.folder / "key"
        if not path.exists():
            rundir.write_bytes(path, secrets.token_bytes(_KEY_BYTES))
            path.chmod(0o600)
        return path.read_bytes()


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
