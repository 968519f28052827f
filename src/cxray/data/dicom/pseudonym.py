"""Keyed pseudonyms: the same person gets the same code wherever the same key is used, and nobody else can compute it.

An unkeyed hash of a patient number is no protection, because all numbers can be tried. The key is 32 random bytes in
a file that only its owner may read: `CXRAY_KEY`, else `cxray/pseudonym.key` in the user's configuration folder, made
at first use. Whoever holds the key can link codes to patients, so it stays in the hospital.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from cxray import progress
from cxray.errors import OutputError, UsageError

KEY_VARIABLE = "CXRAY_KEY"
KEY_BYTES = 32
# Films are moved back by up to ten years, so that no true date can be guessed from a plausible one.
_LONGEST_SHIFT_SECONDS = 3650 * 86400


class Pseudonyms:
    """Codes, identifiers and dates derived from one secret key by HMAC-SHA-256."""

    def __init__(self, key: bytes) -> None:
        if len(key) < KEY_BYTES:
            raise UsageError(
                f"A key for pseudonyms must have at least {KEY_BYTES} bytes, got {len(key)}.",
                "Name a file that does not exist yet; it will be made.",
            )
        self._key = key

    def patient(self, identifier: str) -> str:
        """The code of a patient number: 16 hexadecimal digits. Case and surrounding spaces make no difference."""
        return self._digest("patient", identifier.strip().casefold())[:16]

    def study(self, uid: str) -> str:
        """The code of a study: 16 hexadecimal digits."""
        return self._digest("study", uid)[:16]

    def uid(self, uid: str) -> str:
        """Another UID for `uid`, of the form 2.25.<128-bit number> (PS3.5, B.2)."""
        return f"2.25.{int(self._digest('uid', uid)[:32], 16)}"

    def shift_seconds(self, identifier: str) -> int:
        """By how much the dates and times of this patient are moved back: one day to ten years, in seconds."""
        number = int(self._digest("shift", identifier.strip().casefold())[:16], 16)
        return 86400 + number % (_LONGEST_SHIFT_SECONDS - 86400)

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits that tell keys apart without giving anything away."""
        return self._digest("fingerprint", "")[:8]

    def _digest(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}\0{text}".encode(), hashlib.sha256).hexdigest()


def key_path() -> Path:
    """Where the key of this user is kept."""
    if os.environ.get(KEY_VARIABLE):
        return Path(os.environ[KEY_VARIABLE])
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "cxray" / "pseudonym.key"


def load_pseudonyms(path: Path | None = None) -> Pseudonyms:
    """The pseudonyms of the key at `path` (by default `key_path()`), which is made when it does not exist.

    Raises:
        UsageError: the file is too short to be a key, is a folder, or may not be read.
        OutputError: the key cannot be made.
    """
    return _from_file(path or key_path())


@functools.lru_cache(maxsize=8)
def _from_file(path: Path) -> Pseudonyms:
    try:
        return Pseudonyms(path.read_bytes())
    except FileNotFoundError:
        made = Pseudonyms(_make_key(path))
        progress.say(f"A secret key for pseudonyms was made: {path}. Who holds it can link codes to patients.")
        return made
    except OSError as error:
        raise UsageError(
            f"The key {path} cannot be read: {error.strerror}.", f"Name another file with {KEY_VARIABLE}."
        ) from error


def _make_key(path: Path) -> bytes:
    """Write a new key; where another process was faster, take that one."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(KEY_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)  # unlike a rename, never replaces a key that is already there
        return path.read_bytes()
    except OSError as error:
        raise OutputError(
            f"The key for pseudonyms cannot be written to {path}: {error.strerror}.",
            f"Name a file in a folder that can be written with {KEY_VARIABLE}.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
