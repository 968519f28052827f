"""`cxray compare`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from cxray.cli import print_json
from cxray.cli.options import PATH, column_option, json_option, label_option, out_option, overwrite_option
from cxray.errors import UsageError


@click.command("compare")
@click.argument("predictions", type=PATH, nargs=-1, required=True)
@out_option
@click.option("--validation", type=PATH, multiple=True, help="One validation table a model, in the same order.")
@click.option("--policy", default=None, help="How --validation is used.  [default: target_sensitivity:0.95]")
@click.option("--positive", default="", help="The class that counts as ill; default: the second of two.")
@click.option("--margin", type=float, default=None, help="Largest loss of AUROC that is still not inferior.")
@click.option("--harm", type=float, default=None, help="Compare net benefit at this threshold probability (0–1).")
@click.option("--seeds", multiple=True, metavar="RECIPE=A,B,…", help="Models that differ only by their random seed.")
@click.option("--protocol", type=PATH, help="A locked protocol that settles margin, level, seed and positive class.")
@column_option
@label_option
@click.option("--level", type=float, default=None, help="Confidence level.  [default: 0.95]")
@click.option("--seed", type=click.IntRange(min=0), default=None, help="Random seed.  [default: 0]")
@overwrite_option
@json_option
def command(
    predictions: tuple[Path, ...],
    out: Path,
    as_json: bool,
    columns: tuple[str, ...],
    labels: tuple[str, ...],
    margin: float | None,
    harm: float | None,
    seeds: tuple[str, ...],
    **options: Any,
) -> None:
    """Compare two or more PREDICTIONS tables on the films that all of them scored: paired tests, by patient.

    Write name=path to choose a model's name. With --seeds, models of one recipe are also taken together: how far a new
    seed may fall, and how often one recipe beats another.

    \b
    Example:
      cxray compare article=a.csv default=b.csv --out compared
      cxray compare a0=a0.csv a1=a1.csv a2=a2.csv b0=b0.csv b1=b1.csv b2=b2.csv \\
          --seeds first=a0,a1,a2 --seeds second=b0,b1,b2 --out compared
    """
    from cxray.evaluate.comparison import Goal
    from cxray.workflow.compare import compare_tables
    from cxray.workflow.tables import Naming

    goal = Goal(margin=margin, harm=harm, groups=_groups(seeds))
    given = {name: value for name, value in options.items() if value is not None}
    replay = shlex.join(["cxray", *sys.argv[1:]])
    naming = Naming(columns, labels)
    result = compare_tables(predictions, out, goal=goal, naming=naming, command=replay, **given)
    if as_json:
        print_json(result.to_dict())
        return
    for line in _summary(result):
        click.echo(line)
    click.echo(f"Report: {out / 'report.html'}")


def _groups(entries: tuple[str, ...]) -> dict[str, str]:
    """Model name to recipe name."""
    groups: dict[str, str] = {}
    for entry in entries:
        recipe, _, models = entry.partition("=")
        names = [name.strip() for name in models.split(",") if name.strip()]
        if not recipe.strip() or not names:
            raise UsageError(f"--seeds {entry!r} is not of the form recipe=a,b,c.", "Example: --seeds default=d0,d1,d2")
        for name in names:
            if name in groups:
                raise UsageError(f"--seeds puts {name!r} into two recipes.", "A model has one recipe.")
            groups[name] = recipe.strip()
    return groups


def _summary(result: Any) -> list[str]:
    lines = [f"Warning: {warning}" for warning in result.facts.get("warnings", [])]
    for record in result.records:
        name = f"{record.name} [{record.slice}]"
        if record.withheld:
            lines.append(f"{name:60} withheld: {record.withheld}")
        else:
            interval = "" if record.low is None else f"  ({record.low:.3f} to {record.high:.3f})"
            lines.append(f"{name:60} {record.value:.3f}{interval}")
    for label, verdict in result.facts["questions"].items():
        if verdict["best"] is None:
            continue
        tied = ", ".join(verdict["tied_with_best"])
        lines.append(f"{label}: best {verdict['best']}; " + (f"not distinguishable from {tied}." if tied else "alone."))
        for one in verdict["non_inferiority"]:
            answer = "not inferior to" if one["is_not_inferior"] else "not shown to be non-inferior to"
            lines.append(f"{label}: {one['candidate']} is {answer} {one['reference']} at margin {one['margin']:g}.")
    return lines
