"""The result of an audit: findings, and the tables behind them.

A `Finding` has a code that never changes its meaning, a severity, the numbers it rests on, the films concerned and
what to do. Severities: "error" = figures from this data would be wrong (a leak); "warning" = they may mislead, or
somebody should act; "info" = good to know. `Audit` sorts them worst first, writes them down and says them in a
terminal.
"""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxray import __version__, rundir
from cxray.tables import Column, write_table

SEVERITIES = ("error", "warning", "info")
_WIDTH = 100
_FILES_SHOWN = 3
_FILES_KEPT = 1000


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was found.

    `evidence` holds plain JSON values. `files` are the films concerned, named relative to the data, worst or first
    ones first; there are at most 1,000, the tables have all.
    """

    code: str
    severity: str
    title: str
    evidence: Mapping[str, Any]
    advice: str
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"Severity must be one of {', '.join(SEVERITIES)}, got {self.severity!r}.")
        object.__setattr__(self, "evidence", plain(self.evidence))
        object.__setattr__(self, "files", tuple(self.files)[:_FILES_KEPT])

    def as_json(self) -> dict[str, Any]:
        """The finding as `audit.json` stores it."""
        return {
            "code": self.code,
            "severity": self.severity,
            "title": self.title,
            "evidence": dict(self.evidence),
            "files": list(self.files),
            "advice": self.advice,
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Audit:
    """Everything an audit found.

    `findings` are sorted worst first. `counts` are films per split ("" = undivided) and class. `tables`: name to
    columns, written as CSV. `facts` say what was audited and how: films, patients, seed, seconds.
    """

    findings: tuple[Finding, ...]
    counts: Mapping[str, Mapping[str, int]]
    facts: Mapping[str, Any]
    tables: Mapping[str, Mapping[str, Column]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        ranked = sorted(self.findings, key=lambda finding: (SEVERITIES.index(finding.severity), finding.code))
        object.__setattr__(self, "findings", tuple(ranked))

    @property
    def worst(self) -> str:
        """The highest severity present: "error", "warning", "info", or "" when nothing was found."""
        return self.findings[0].severity if self.findings else ""

    @property
    def meaning(self) -> str:
        """What the worst finding means for figures from this data, in one sentence."""
        return {
            "error": "Figures from this data would be wrong until the errors are mended.",
            "warning": "Usable with care: read the warnings before believing a figure.",
        }.get(self.worst, "Nothing was found that would make figures from this data misleading.")

    def of(self, code: str) -> Finding | None:
        """The finding with this code, or None."""
        return next((finding for finding in self.findings if finding.code == code), None)

    def save(self, folder: Path, *, overwrite: bool = False) -> None:
        """Write `audit.json`, `tables/*.csv` and, last, the manifest.

        Raises:
            UsageError: `folder` holds other work.
            OutputError: it cannot be written.
        """
        rundir.prepare_folder(folder, overwrite=overwrite)
        self.write_results(folder)
        self.write_manifest(folder)

    def write_results(self, folder: Path) -> None:
        """Write `audit.json` and `tables/*.csv` only, for a caller that adds files before the manifest.

        Raises:
            OutputError: they cannot be written.
        """
        for name, columns in self.tables.items():
            write_table(folder / "tables" / f"{name}.csv", columns)
        rundir.write_json(folder / "audit.json", self.as_json())

    def write_manifest(self, folder: Path) -> None:
        """Close `folder`: nothing is written to it after this.

        Raises:
            OutputError: it cannot be written.
        """
        rundir.write_manifest(folder, {"kind": "audit", "cxray": __version__, **self.facts})

    def as_json(self) -> dict[str, Any]:
        """What `audit.json` holds."""
        return {
            "schema": 1,
            "findings": [finding.as_json() for finding in self.findings],
            "counts": {split: dict(row) for split, row in self.counts.items()},
            **self.facts,
        }

    def text(self) -> str:
        """For a terminal: a verdict, then every finding with its advice, worst first; a few films where it matters."""
        lines = [self._verdict(), ""]
        for finding in self.findings:
            lines += _paragraph(finding)
        return "\n".join(map(visible, lines)).rstrip() + "\n"

    def _verdict(self) -> str:
        number = Counter(finding.severity for finding in self.findings)
        counted = ", ".join(f"{number[s]} {s}{'s' * (number[s] != 1)}" for s in SEVERITIES if number[s])
        what = f"{self.facts.get('films', 0):,} films of {self.facts.get('patients', 0):,} patients"
        return f"{what}: {counted or 'no findings'}. {self.meaning}"


def plain(value: Any) -> Any:
    """Turn NumPy values, tuples and mappings into what JSON can hold; floats keep four significant digits.

    NaN and infinity become None: a number that does not exist.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value if value is None else str(value)


def percent(share: float) -> str:
    """A share of 1 as a percentage a person reads: "41 %", "0.3 %"."""
    return f"{100 * share:.0f} %" if share >= 0.0095 or share == 0 else f"{100 * share:.1g} %"


def count_of(number: int, noun: str) -> str:
    """ "1 film", "1,204 films"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _paragraph(finding: Finding) -> list[str]:
    head = f"{finding.severity.upper():<8}{finding.code}: {finding.title}"
    lines = textwrap.wrap(head, _WIDTH, subsequent_indent=" " * 8)
    lines += textwrap.wrap(f"→ {finding.advice}", _WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 10)
    if finding.severity == "info":
        return lines
    if finding.files:
        lines.append(" " * 8 + _some(finding.files))
    return [*lines, ""]


def visible(line: str) -> str:
    """Control, invisible and undecodable characters as escapes: a file name must not command the terminal."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in line)


def _some(files: Sequence[str]) -> str:
    shown = ", ".join(files[:_FILES_SHOWN])
    rest = len(files) - _FILES_SHOWN
    return f"{shown}, and {rest:,} more" if rest > 0 else shown
