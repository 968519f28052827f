"""What the classes of a bundle mean in coded terms.

The first source that exists is used whole: `finding_codes` in the bundle's description, else the table that the user
gives (`chest` names the one that is delivered). A class that the table does not name is written in this software's own
scheme, declared as such in every document: no clinical code is ever guessed from a class's name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from cxray.bundle import Bundle
from cxray.errors import ConfigError

PRIVATE_SCHEME = "99CXRAY"
PRIVATE_SCHEME_NAME = "cxray local codes"
DELIVERED_TABLE = "chest"
_KEYS = {"value", "scheme", "meaning", "finding"}


@dataclasses.dataclass(frozen=True, slots=True)
class FindingCode:
    """The code of one class: `value`, `scheme` (designator, at most 16 characters) and `meaning` (at most 64)."""

    value: str
    scheme: str
    meaning: str

    def __post_init__(self) -> None:
        for name, limit in (("value", 16), ("scheme", 16), ("meaning", 64)):
            text = getattr(self, name)
            if not isinstance(text, str) or not text.strip() or len(text) > limit:
                raise ConfigError(
                    f"The {name} of a finding code must be text of 1 to {limit} characters, got {text!r}."
                )

    @property
    def is_private(self) -> bool:
        """Whether the scheme is this software's own."""
        return self.scheme == PRIVATE_SCHEME


@dataclasses.dataclass(frozen=True)
class FindingCodes:
    """The codes of all findings of a bundle, in the order of its classes; classes that are no finding are absent."""

    codes: Mapping[str, FindingCode]
    source: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all codes as hexadecimal digits: results under other codes are other results."""
        plain = {name: dataclasses.astuple(code) for name, code in self.codes.items()}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()

    @property
    def private(self) -> tuple[str, ...]:
        """The findings for which no code is known."""
        return tuple(name for name, code in self.codes.items() if code.is_private)


def finding_codes(bundle: Bundle, table: str | Path = "") -> FindingCodes:
    """The codes of a bundle's findings.

    Args:
        bundle: may declare `finding_codes`, a mapping of class to `value`, `scheme`, `meaning` or `finding: false`.
        table: a TOML file, or `chest` for the delivered one; used when the bundle declares none.

    Raises:
        ConfigError: the table cannot be read, names no finding of the bundle, or a code is incomplete.
    """
    declared = bundle.facts.get("finding_codes")
    if declared:
        entries, source = dict(declared), "the bundle"
    elif table:
        entries, source = _read_table(table), str(table)
    else:
        entries, source = {}, "none: own scheme"
    known = {_plain(name): _entry(name, value, source) for name, value in entries.items()}
    silent = _not_findings(bundle)
    codes = {
        name: known.get(_plain(name)) or _own_code(name)
        for name in bundle.classes
        if known.get(_plain(name), "unknown") is not None and name not in silent
    }
    if not codes:
        raise ConfigError(
            f"{source} declares none of the classes {', '.join(bundle.classes)} to be a finding, so there is nothing "
            "to report.",
            "Remove `finding = false` from at least one of them.",
        )
    return FindingCodes(codes, source)


def _not_findings(bundle: Bundle) -> tuple[str, ...]:
    # Of two exclusive classes the one that is not thresholded is the absence of the other.
    if bundle.task == "classes" and len(bundle.classes) == 2:
        return tuple(name for name in bundle.classes if name != bundle.positive)
    return ()


def _read_table(table: str | Path) -> dict[str, Any]:
    try:
        if str(table) == DELIVERED_TABLE:
            text = resources.files("cxray.pacs").joinpath("chest_codes.toml").read_text("utf-8")
        else:
            text = Path(table).read_text("utf-8")
        return tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            f"The table of finding codes {table} cannot be read: {error}.",
            "Give a TOML file with one section a class, or --codes chest for the delivered one.",
        ) from error


def _entry(name: str, value: Any, source: str) -> FindingCode | None:
    if not isinstance(value, Mapping) or set(value) - _KEYS:
        extra = ", ".join(sorted(set(value) - _KEYS)) if isinstance(value, Mapping) else repr(value)
        raise ConfigError(
            f"The code of {name!r} in {source} must have the keys value, scheme, meaning (or finding), got {extra}."
        )
    if value.get("finding") is False:
        return None
    missing = [key for key in ("value", "scheme", "meaning") if key not in value]
    if missing:
        raise ConfigError(f"The code of {name!r} in {source} lacks {', '.join(missing)}.")
    return FindingCode(value["value"], value["scheme"], value["meaning"])


def _own_code(name: str) -> FindingCode:
    value = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
    if not value or len(value) > 16:
        value = hashlib.sha256(name.encode()).hexdigest()[:16].upper()
    return FindingCode(value, PRIVATE_SCHEME, name[:64])


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()
