"""`cxray compare`: predictions tables of the same films in, paired differences, tables, figures and a page out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxray import rundir
from cxray.errors import UsageError
from cxray.evaluate.comparison import Comparison, Goal, compare
from cxray.evaluate.protocol import Lock, in_force, locked_protocol
from cxray.records import Predictions
from cxray.report.comparison_page import write_comparison_report
from cxray.workflow import openings
from cxray.workflow.tables import Naming

# What a protocol settles for a comparison.
_SETTLED = ("positive", "policy", "level", "seed")


def compare_tables(
    predictions: Sequence[Path],
    out: Path,
    *,
    validation: Sequence[Path] = (),
    protocol: Path | None = None,
    goal: Goal | None = None,
    naming: Naming | None = None,
    overwrite: bool = False,
    command: str = "",
    **options: Any,
) -> Comparison:
    """Compare predictions tables of the same films and write `comparison.json`, `tables/`, `figures/`, `report.html`.

    A model is called by its file name, or by `name=path`. `validation` tables come in the same order. Under a locked
    `protocol` the margin and the settings are those of the protocol. Every table is an opening of its test films.

    Raises:
        UsageError, DataError: fewer than two tables, or tables that cannot be compared.
        OutputError: the results or the log cannot be written.
    """
    if validation and len(validation) != len(predictions):
        raise UsageError(
            f"{len(predictions)} tables but {len(validation)} validation tables were given.",
            "Give one for each, in order.",
        )
    naming, goal = naming or Naming(), goal or Goal()
    settled, locks = locked_protocol(protocol) if protocol else (None, [])
    if settled is not None:
        goal, options = _under(settled, goal, options)
    named = _named(predictions)
    tables = {name: naming.read(path) for name, path in named.items()}
    options["validation"] = {name: naming.read(path) for name, path in zip(named, validation, strict=False)}
    result = compare(tables, goal=goal, **options)
    opened = _record(tables, named, protocol, settled.sha256 if settled else "")
    result = _with_openings(result, opened, locks)
    rundir.prepare_folder(out, overwrite=overwrite, reads=[*predictions, *validation])
    result.save(out)
    write_comparison_report(result, out, command=command)
    rundir.write_manifest(out, {"kind": "comparison", "sources": {name: str(path) for name, path in named.items()}})
    return result


def _under(protocol: Any, goal: Goal, options: dict[str, Any]) -> tuple[Goal, dict[str, Any]]:
    said = [name for name in _SETTLED if options.get(name) not in (None, "")]
    if said or goal.margin is not None:
        raise UsageError(
            f"--{said[0] if said else 'margin'} is settled by the protocol.", "Leave it out, or leave out --protocol."
        )
    settled = {"positive": protocol.positive, "level": protocol.level, "seed": protocol.seed}
    if protocol.threshold.policy:
        settled["policy"] = protocol.threshold.policy
    return dataclasses.replace(goal, margin=protocol.comparison.margin), {**options, **settled}


def _record(
    tables: Mapping[str, Predictions], named: Mapping[str, Path], protocol: Path | None, sha256: str
) -> list[tuple[openings.Opening, openings.History]]:
    """Write one opening a table; each with what the log held before this comparison."""
    found = []
    for name, table in tables.items():
        opening = openings.opening_of(table, source=str(named[name]), purpose="compare", protocol=sha256)
        if opening is not None:
            found.append((opening, openings.history(opening, openings.log_paths(opening, protocol))))
    for opening, _ in found:
        openings.record(opening, openings.log_paths(opening, protocol))
    return found


def _with_openings(
    result: Comparison, opened: list[tuple[openings.Opening, openings.History]], locks: Sequence[Lock]
) -> Comparison:
    """The comparison with what is known about earlier looks, and whether the margin was locked before the first."""
    facts: dict[str, Any] = dict(result.facts)
    if opened:
        facts["openings"] = openings.facts(*opened[0])
        tables = {one.table_sha256 for _, earlier in opened for one in earlier.openings}
        facts["openings"]["different_tables"] = len(tables | {opening.table_sha256 for opening, _ in opened})
        facts["openings"]["count"] = len(opened[0][1].openings) + len(opened)
        facts["warnings"] = [*facts["warnings"], *openings.warnings(facts["openings"], len(opened))]
    if locks:
        first = min((earlier.first for _, earlier in opened if earlier.first is not None), default=None)
        version = in_force(locks, first)
        beforehand = version is not None and version.protocol.comparison == locks[-1].protocol.comparison
        facts["protocol"] = {
            "title": locks[-1].protocol.title,
            "sha256": locks[-1].sha256,
            "locked_at": locks[-1].locked_at.isoformat(),
            "margin_stated_beforehand": beforehand and locks[-1].protocol.comparison.margin is not None,
        }
        if not beforehand:
            said = "The margin was locked after these films were first opened, so non-inferiority is exploratory."
            facts["warnings"] = [*facts["warnings"], said]
    return dataclasses.replace(result, facts=facts)


def _named(paths: Sequence[Path]) -> dict[str, Path]:
    """Names for the models: `name=path`, else the shortest part of the path that tells them apart."""
    named: dict[str, Path] = {}
    stems = [path.stem for path in paths]
    for path in paths:
        name, separator, rest = str(path).partition("=")
        if separator and not path.exists():
            key, path = name, Path(rest)
        else:
            key = path.stem if stems.count(path.stem) == 1 else path.with_suffix("").as_posix()
        if key in named:
            raise UsageError(f"Two tables are called {key!r}.", "Name them: first=a.csv second=b.csv")
        named[key] = path
    return named
