"""`cxray evaluate`: a predictions table in, records, tables, figures and a report out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxray import rundir
from cxray.errors import UsageError
from cxray.evaluate.evaluation import Evaluation
from cxray.evaluate.features import Features
from cxray.evaluate.prespecified import judged_under
from cxray.evaluate.protocol import Protocol, in_force, locked_protocol
from cxray.evaluate.summary import Request, evaluate_request
from cxray.records import Predictions
from cxray.report.card_sources import read_statements
from cxray.report.checklists import statement_keys
from cxray.report.page import write_evaluation_report
from cxray.workflow import openings
from cxray.workflow.card import write_card_beside
from cxray.workflow.grounds import PICTURE_SIDE, Grounds, bundle_facts, film_paths, grounded
from cxray.workflow.groups import grouped, with_audit_groups
from cxray.workflow.maps import film_maps
from cxray.workflow.tables import Naming
from cxray.workflow.thumbnails import thumbnails

# What a protocol settles, so that it cannot be said again on the command line.
SETTLED = ("positive", "policy", "threshold", "level", "seed")


def evaluate_table(
    predictions: Path,
    out: Path,
    *,
    validation: Path | None = None,
    protocol: Path | None = None,
    features: Sequence[Path] = (),
    naming: Naming | None = None,
    grounds: Grounds | None = None,
    pictures: bool = True,
    overwrite: bool = False,
    command: str = "",
    **options: Any,
) -> Evaluation:
    """Judge a predictions table and write `evaluation.json`, `tables/`, `figures/`, `card/` and `report.html` to `out`.

    `protocol` is a locked protocol file, which settles the options in `SETTLED`; `features` are feature tables of the
    judged (and validation) films; `naming` translates a table of another tool; `grounds` say what else is known of
    data and model; `pictures` puts small pictures of misjudged films on the page, where their paths can be opened;
    `command` is shown as the line to replay. Where no slice is asked for, groups that the table itself holds are judged
    apart. Further `options` are the fields of `Request`. Judging films that are not training or validation films is
    written to the log of openings before anything is returned.

    Raises:
        DataError, LabelError, UsageError, SealedTestError: the table or the options cannot be meant.
        OutputError: the results or the log cannot be written.
    """
    naming = naming or Naming()
    settled, locks = locked_protocol(protocol) if protocol else (None, [])
    if settled is not None:
        options = _under(settled, options, validation)
    grounds = grounds or Grounds()
    stated = read_statements(grounds.statements, statement_keys()) if grounds.statements else {}
    table = naming.read(predictions)
    if validation is not None:
        options["validation"] = naming.read(validation)
    if features:
        options["features"] = Features.read(features)
    known = with_audit_groups(table, grounds.audit) if grounds.audit else table
    judgement = _judged(known, Request(source=str(predictions), **options))
    judgement = grounded(judgement, table, grounds)
    judgement, earlier = _logged(judgement, table, predictions, protocol, settled)
    if settled is not None:
        version = in_force(locks, earlier.first if earlier else None)
        judgement = judged_under(judgement, settled, version.protocol if version else None, locks)
    _write(judgement, out, predictions, grounds, stated, pictures=pictures, overwrite=overwrite, command=command)
    return judgement


def _logged(
    judgement: Evaluation, table: Predictions, source: Path, protocol: Path | None, settled: Protocol | None
) -> tuple[Evaluation, openings.History | None]:
    """The judgement with the openings of its films, this one written to the log, and those before; None for films that
    are no test."""
    opening = openings.opening_of(
        table, source=str(source), purpose="evaluate", protocol=settled.sha256 if settled else ""
    )
    if opening is None:
        return judgement, None
    logs = openings.log_paths(opening, protocol)
    earlier = openings.history(opening, logs)
    openings.record(opening, logs)
    return _with_openings(judgement, openings.facts(opening, earlier)), earlier


def _write(
    judgement: Evaluation,
    out: Path,
    source: Path,
    grounds: Grounds,
    stated: Mapping[str, str],
    *,
    pictures: bool,
    overwrite: bool,
    command: str,
) -> None:
    rundir.prepare_folder(out, overwrite=overwrite, reads=[source])
    judgement.save(out)
    paths = film_paths(judgement, source.parent) if pictures else {}
    bundle = grounds.bundle
    write_card_beside(judgement, bundle_facts(bundle) if bundle else {}, out, stated, command=command)
    write_evaluation_report(
        judgement,
        out,
        command=command,
        films=thumbnails(paths, side=PICTURE_SIDE),
        maps=film_maps(judgement, bundle, paths, side=PICTURE_SIDE),
    )
    rundir.write_manifest(out, {"kind": "evaluation", "source": str(source)})


def _judged(table: Predictions, asked: Request) -> Evaluation:
    """The judgement of `table`; where no group is asked for, it is also judged by the groups that it holds."""
    if asked.slices:
        return evaluate_request(table, asked)
    groups = grouped(table)
    found = evaluate_request(groups.table, dataclasses.replace(asked, slices=groups.columns))
    return dataclasses.replace(found, facts={**found.facts, "groups": groups.found})


def _under(protocol: Protocol, options: dict[str, Any], validation: Path | None) -> dict[str, Any]:
    """The options of a judgement under `protocol`; slices and prevalences beyond it are kept, as exploratory ones."""
    said = [name for name in SETTLED if options.get(name) not in (None, "")]
    if said:
        raise UsageError(
            f"--{said[0]} is settled by the protocol.", "Leave it out, or judge without --protocol to explore."
        )
    rule = protocol.threshold
    if rule.policy and validation is None:
        raise UsageError(
            f"The protocol chooses the threshold by {rule.policy} on a validation table, but none was given.",
            "Add --validation TABLE.",
        )
    kept = {name: value for name, value in options.items() if name not in SETTLED}
    settled: dict[str, Any] = {"positive": protocol.positive, "level": protocol.level, "seed": protocol.seed}
    if rule.policy:
        settled["policy"] = rule.policy
    if rule.value is not None:
        settled["threshold"] = rule.value
    for name, own in (("slices", protocol.subgroups), ("prevalence", protocol.prevalences)):
        settled[name] = tuple(dict.fromkeys([*own, *kept.pop(name, ())]))
    return {**kept, **settled}


def _with_openings(judgement: Evaluation, known: dict[str, Any]) -> Evaluation:
    said = [*judgement.facts.get("warnings", ()), *openings.warnings(known)]
    return dataclasses.replace(judgement, facts={**judgement.facts, "openings": known, "warnings": said})
