"""`cxray evaluate`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from cxray.cli import print_json
from cxray.cli.options import PATH, column_option, json_option, label_option, out_option, overwrite_option

_GROUNDS: dict[str, Any] = {"audit": None, "bundle": None, "external": "", "readers": None, "statements": None}
_SHOWN = ("auroc", "sensitivity", "specificity", "ppv", "npv", "accuracy")


@click.command("evaluate")
@click.argument("predictions", type=PATH)
@out_option
@click.option("--validation", type=PATH, help="Table of validation films; the threshold is chosen on it.")
@click.option("--positive", default="", help="The class that counts as ill; default: the second of two.")
@click.option("--threshold", type=click.FloatRange(0, 1), default=None, help="A threshold fixed beforehand.")
@click.option("--policy", default=None, help="How --validation is used.  [default: target_sensitivity:0.95]")
@click.option("--prevalence", type=float, multiple=True, help="Restate PPV and NPV at this share of ill (0–1).")
@click.option(
    "--slice",
    "slices",
    multiple=True,
    metavar="COLUMN",
    help="Judge each value of this column apart; else groups are found.",
)
@click.option("--protocol", type=PATH, help="A locked protocol: what it does not name is marked exploratory.")
@click.option("--features", type=PATH, multiple=True, help="Feature table: hidden strata, and shift with --validation.")
@click.option("--audit", type=PATH, help="Folder of cxray audit on the model's data: leaks, shift, floor, groups.")
@click.option("--bundle", type=PATH, help="The model's bundle: recipe, data, tested maps.")
@click.option("--external", default="", metavar="PLACE", help="The films come from elsewhere than the training films.")
@click.option("--readers", type=PATH, help="Table of people's marks on these films: path, reader, mark, mode.")
@click.option("--statements", type=PATH, help='TOML file of key = "text" for the model card: what only authors know.')
@click.option("--pictures/--no-pictures", default=True, show_default=True, help="Small films beside the mistakes.")
@column_option
@label_option
@click.option("--level", type=float, default=None, help="Confidence level.  [default: 0.95]")
@click.option("--seed", type=click.IntRange(min=0), default=None, help="Random seed.  [default: 0]")
@overwrite_option
@json_option
def command(
    predictions: Path, out: Path, as_json: bool, columns: tuple[str, ...], labels: tuple[str, ...], **options: Any
) -> None:
    """Judge PREDICTIONS, a CSV or Parquet table made by cxray or by anything else.

    Needs the columns path, label and score_<CLASS> with probabilities; patient makes the intervals honest. The
    operating point comes from --validation, else from --threshold, else from the table's own decisions. Every look at
    test films is written to a log, and repeated looks are said.

    \b
    Example:
      cxray evaluate test.csv --out judged
      cxray evaluate vendor.csv --out judged --column path=image_id --column score_ILL=probability --label 1=ILL
      cxray evaluate test.csv --out judged --protocol protocol.toml
      cxray evaluate test.csv --out judged --audit audited --bundle RUN/bundle
    """
    from cxray.workflow.evaluate import evaluate_table
    from cxray.workflow.grounds import Grounds
    from cxray.workflow.tables import Naming

    replay = shlex.join(["cxray", *sys.argv[1:]])
    given = {name: value for name, value in options.items() if value is not None}
    given["grounds"] = Grounds(*(given.pop(name, default) for name, default in _GROUNDS.items()))
    judgement = evaluate_table(predictions, out, command=replay, naming=Naming(columns, labels), **given)
    if as_json:
        print_json(judgement.to_dict())
        return
    for line in _summary(judgement):
        click.echo(line)
    click.echo(f"Report: {out / 'report.html'}")
    click.echo(f"Model card and checklists: {out / 'card' / 'card.html'}")


def _summary(judgement: Any) -> list[str]:
    lines = [f"Warning: {warning}" for warning in judgement.facts.get("warnings", [])]
    lines += _primary(judgement.facts.get("protocol") or {})
    for record in judgement.records:
        if (record.name not in _SHOWN and record.role != "primary") or record.slice:
            continue
        name = f"{record.name} ({record.label})" if record.label else record.name
        role = f", {record.role}" if record.role else ""
        if record.withheld:
            lines.append(f"{name:32} withheld: {record.withheld}")
        else:
            interval = "" if record.low is None else f"  ({record.low:.3f} to {record.high:.3f})"
            lines.append(f"{name:32} {record.value:.3f}{interval}  n = {record.n_images} films, {record.method}{role}")
    return lines


def _primary(protocol: dict[str, Any]) -> list[str]:
    lines = []
    for label, found in (protocol.get("primary") or {}).items():
        bound = "at_least" if found["at_least"] is not None else "at_most"
        if found[bound] is None:
            continue
        answer = {True: "reached", False: "missed", None: "not decided"}[found["met"]]
        goal = f"{found['metric']} {bound.replace('_', ' ')} {found[bound]:g}"
        lines.append(f"Primary goal ({label}): {goal}: {answer}. {found['reason']}".rstrip())
    return lines
