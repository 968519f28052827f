"""What a node says while it works: one line an event, made so that it cannot hold patient data.

A line is `time event name=value …`. Values are numbers, or words of a narrow grammar; anything else is written as
`withheld`. The texts of exceptions from parsers are never logged, only their types. `silence_libraries` keeps the DICOM
libraries, which print the values that they find odd, from writing anything.
"""

from __future__ import annotations

import logging
import re
import sys
import time
import traceback
import warnings
from pathlib import Path

# Words and our own codes. UIDs, names and dates do not match: dots, blanks, carets and capitals are missing.
_WORD = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+){0,6}")
_LONGEST_WORD = 48
SILENCED = ("pydicom", "pynetdicom", "highdicom", "dicomweb_client", "urllib3", "requests")


class Journal:
    """Writes events to stderr and, when given, to a file that is appended to."""

    def __init__(self, path: Path | None = None, *, quiet: bool = False) -> None:
        self._path, self._quiet = path, quiet

    def note(self, event: str, *, film: str = "", **values: float | str) -> None:
        """One line. `film` is a job's key, of which the first 12 digits are shown."""
        parts = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), _word(event)]
        if film:
            parts.append(f"film={film[:12] if re.fullmatch('[0-9a-f]{32}', film) else 'withheld'}")
        parts += [f"{name}={_value(value)}" for name, value in values.items()]
        line = " ".join(parts)
        if not self._quiet:
            print(line, file=sys.stderr, flush=True)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")

    def fault(self, error: BaseException, *, film: str = "") -> None:
        """An unexpected error: its type and the place in our code, never its text."""
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "cxray" in Path(frame.filename).parts]
        place = ours[-1] if ours else None
        where = "unknown" if place is None else f"{Path(place.filename).stem}-{place.lineno}"
        self.note("fault", film=film, type=_snake(type(error).__name__), place=where)


def silence_libraries() -> None:
    """Keep the DICOM libraries from printing values: no logger, no warning, no validation while reading."""
    from pydicom import config

    config.settings.reading_validation_mode = config.IGNORE
    config.settings.writing_validation_mode = config.IGNORE
    for name in SILENCED:
        logger = logging.getLogger(name)
        logger.handlers[:] = [logging.NullHandler()]
        logger.propagate = False
        logger.setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore")


def _word(text: str) -> str:
    return text if len(text) <= _LONGEST_WORD and _WORD.fullmatch(text) else "withheld"


def _value(value: float | str) -> str:
    if isinstance(value, bool | int):
        return str(int(value))
    return f"{value:.4g}" if isinstance(value, float) else _word(value)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()
