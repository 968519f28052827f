"""The page of one audit: `audit.html` beside `audit.json` and `tables/`, for a person who has never heard of leakage.

The verdict first, then every finding, worst first: what it is, why it matters, the films, what to do, and the numbers
behind it. Everything comes from the `Audit` and from small pictures of films; nothing is computed here.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from cxray.data.audit.findings import SEVERITIES, Audit, Finding
from cxray.records import SPLITS
from cxray.report import sentences
from cxray.report.audit_pictures import COVERED, Sheet, Strip, probed_films, strips
from cxray.report.audit_words import WORDS, Words, words_of
from cxray.report.evidence import Evidence, evidence_of, interval_of, pointer
from cxray.report.page import table_list
from cxray.report.pages import picture, write_page

PAGE = "audit.html"
_MOST_FILES = 6
_MOST_FIRST = 3
# Severity to its name on the page and the sign that goes with it; the sign differs in shape, not in colour alone.
_NAMES = {"error": ("Error", "problem"), "warning": ("Warning", "caution"), "info": ("Note", "note")}
_TABLES = {
    "duplicate-across-splits": "pairs",
    "duplicate-contradicting-labels": "pairs",
    "duplicate-within-split": "pairs",
    "duplicate-across-patients": "pairs",
    "near-duplicate": "pairs",
    "label-suspect": "suspects",
    "patient-leak": "films",
    "one-class-group": "groups",
    "one-class-group-breaks": "groups",
    "shortcut-floor": "probes",
}


@dataclasses.dataclass(frozen=True)
class Bar:
    """One value 0–1 with its interval on a scale: `text` says of what, `key` where in the evidence of `code`."""

    text: str
    value: float
    low: float
    high: float
    code: str
    key: str


@dataclasses.dataclass(frozen=True)
class Scale:
    """Bars under each other, from `start` to 1; `ends` says what both ends mean."""

    bars: tuple[Bar, ...]
    start: float
    ends: tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Item:
    """One finding made ready for the page. `more` counts the films beyond `files`; `table` holds them all, if any."""

    finding: Finding
    words: Words
    severity: str
    sign: str
    strips: tuple[Strip, ...]
    covered: tuple[tuple[int, int, int, int], ...]
    scale: Scale | None
    evidence: Evidence
    files: tuple[str, ...]
    more: int
    table: str


# How a probe was measured: the key in the evidence, and what people call it.
_MEASURED = (("cross_validated", "held-out patients"), ("test", "test films"))
_GUESSING = ("0.5: guessing", "1: never wrong")
_STRANGERS = ("0.5: strangers", "1: more alike")
_SHARES = ("0: none", "1: all")


def write_audit_page(
    audit: Audit, folder: Path, *, films: Mapping[str, bytes], sheets: Sequence[Sheet] = (), data: str = ""
) -> Path:
    """Write `folder/audit.html`; returns its path. The files it links to are written by `Audit.write_results`.

    `films` are small PNGs by name, of as many of `films_wanted` as there are; `sheets` the films to show of each class;
    `data` is what was audited, as the user called it.

    Raises:
        OutputError: the folder cannot be written.
    """
    found = [_item(audit, finding) for finding in audit.findings]
    return write_page(
        folder / PAGE,
        "audit.html.j2",
        audit=audit,
        data_name=data,
        summary=_summary(audit),
        tallies=_tallies(audit),
        counts=sorted(audit.counts.items(), key=lambda row: SPLITS.index(row[0]) if row[0] else -1),
        urgent=[item for item in found if item.finding.severity != "info"],
        notes=[item for item in found if item.finding.severity == "info"],
        first=_first(found),
        absent=[words.heading for code, words in WORDS.items() if audit.of(code) is None],
        pictures={name: picture(png) for name, png in films.items()},
        sheets=[sheet for sheet in sheets if any(name in films for name in sheet.shown)],
        probed=[shown for shown in probed_films(sheets) if shown.film in films],
        tables=table_list(audit.tables),
        commands=_commands(audit, folder, data),
    )


def _summary(audit: Audit) -> Markup:
    number = Counter(finding.severity for finding in audit.findings)
    counted = [
        Markup("<strong>{} {}</strong>").format(
            sentences.fact(number[severity], f"findings/{severity}"), sentences.plural(number[severity], severity)
        )
        for severity in ("error", "warning")
        if number[severity]
    ]
    films, patients = int(audit.facts.get("films", 0)), int(audit.facts.get("patients", 0))
    return Markup("{} in {} {} of {} {}. {}").format(
        Markup(" and ").join(counted) or Markup("<strong>No error and no warning</strong>"),
        sentences.fact(films, "films"),
        sentences.plural(films, "film"),
        sentences.fact(patients, "patients"),
        sentences.plural(patients, "patient"),
        audit.meaning,
    )


def _tallies(audit: Audit) -> list[tuple[str, str, int, str]]:
    """Sign, name, number and meaning of every severity."""
    number = Counter(finding.severity for finding in audit.findings)
    meanings = {
        "error": "Figures from this data would be wrong.",
        "warning": "Figures may mislead, or somebody should act.",
        "info": "Good to know.",
    }
    names = {"error": "Errors", "warning": "Warnings", "info": "Notes"}
    return [(_NAMES[severity][1], names[severity], number[severity], meanings[severity]) for severity in SEVERITIES]


def _first(found: Sequence[Item]) -> list[Item]:
    """The findings whose advice comes first: the worst, each advice once."""
    by_advice = {item.finding.advice: item for item in reversed(found) if item.finding.severity != "info"}
    chosen = [item for item in found if by_advice.get(item.finding.advice) is item]
    return chosen[:_MOST_FIRST]


def _item(audit: Audit, finding: Finding) -> Item:
    severity, sign = _NAMES[finding.severity]
    total = finding.evidence.get("films")
    count = max(total if isinstance(total, int) else 0, len(finding.files))
    table = _TABLES.get(finding.code, "")
    return Item(
        finding=finding,
        words=words_of(finding.code),
        severity=severity,
        sign=sign,
        strips=strips(audit, finding),
        covered=COVERED.get(finding.code, ()),
        scale=_scale(audit, finding),
        evidence=evidence_of(finding.evidence, finding.code),
        files=finding.files[:_MOST_FILES],
        more=count - len(finding.files[:_MOST_FILES]) if finding.files else 0,
        table=f"tables/{table}.csv" if table in audit.tables else "audit.json",
    )


def _scale(audit: Audit, finding: Finding) -> Scale | None:
    evidence = finding.evidence
    if finding.code == "shortcut-floor":
        return _made(_probe_bars(finding), _GUESSING)
    if finding.code.startswith("shortcut-"):
        return _made([*_shortcut_bars(finding), *_floor_bars(audit)], _GUESSING)
    if finding.code == "class-shift":
        classes = evidence.get("classes", {})
        return _made(
            (_bar(name, finding, "classes", name, "auroc") for name in classes), ("0.5: alike", "1: told apart")
        )
    if finding.code.startswith("patient-identity"):
        return _made(_reading_bars(finding), _STRANGERS)
    if finding.code == "threshold-shift":
        return _made(_rate_bars(finding), _SHARES, start=0.0)
    return None


def _made(bars: Iterable[Bar | None], ends: tuple[str, str], start: float = 0.5) -> Scale | None:
    known = tuple(bar for bar in bars if bar is not None)
    return Scale(known, start, ends) if known else None


def _bar(text: str, finding: Finding, *path: str) -> Bar | None:
    """The number with its interval at `path` of the evidence, or None where there is none."""
    interval = interval_of(_at(finding.evidence, path))
    return Bar(text, *interval, finding.code, pointer(*path, "value")) if interval else None


def _at(value: Any, path: Sequence[str]) -> Any:
    for key in path:
        value = value[int(key)] if isinstance(value, list) else (value or {}).get(key)
    return value


def _probe_bars(finding: Finding) -> Iterator[Bar | None]:
    probes = finding.evidence.get("probes", ())
    several = len({probe.get("target") for probe in probes}) > 1
    for place, probe in enumerate(probes):
        name = f"{probe.get('probe')} → {probe.get('target')}" if several else str(probe.get("probe"))
        for part, where in _MEASURED:
            yield _bar(f"{name}, {where}", finding, "probes", str(place), part)


def _shortcut_bars(finding: Finding) -> Iterator[Bar | None]:
    for part, where in _MEASURED:
        yield _bar(f"From this alone, {where}", finding, "worst", part)


def _floor_bars(audit: Audit) -> Iterator[Bar | None]:
    """The floor as it counts: on test films where there are any."""
    floor = audit.of("shortcut-floor")
    if floor:
        text = f"The floor for any model: {_at(floor.evidence, ('best', 'probe'))}"
        bars = [_bar(f"{text}, {where}", floor, "best", part) for part, where in _MEASURED]
        yield bars[1] or bars[0]


def _reading_bars(finding: Finding) -> Iterator[Bar | None]:
    others = [("others", str(place)) for place in range(len(finding.evidence.get("others", ())))]
    for path in (("chosen",), ("candidate",), *others):
        row = _at(finding.evidence, path) or {}
        sign = {"supported": "✓", "rejected": "✗"}.get(str(row.get("verdict")), "?")
        yield _bar(f"{sign} {row.get('reading')}: {row.get('verdict')}", finding, *path, "auroc_alike")


def _rate_bars(finding: Finding) -> Iterator[Bar | None]:
    for key, where in (("train_cross_validated", _MEASURED[0][1]), _MEASURED[1]):
        for rate in ("sensitivity", "specificity"):
            value = _at(finding.evidence, (key, rate))
            if value is not None:
                text = f"{rate.capitalize()}, {where}"
                yield Bar(text, value, value, value, finding.code, pointer(key, rate))


def _commands(audit: Audit, folder: Path, data: str) -> list[tuple[str, str]]:
    films = shlex.quote(data or "DATA")
    again = (
        "When the films are mended, look again",
        f"cxray audit {films} --out {shlex.quote(str(folder))} --overwrite",
    )
    known = shlex.quote(str(folder / "tables" / "films.csv"))
    further = [
        ("Train on these films", f"cxray train {films} --out run"),
        (
            "Before calling other films external: are any of these among them?",
            f"cxray audit OTHER --out other --known {known}",
        ),
    ]
    return [again, *further] if audit.worst == "error" else [*further, again]
