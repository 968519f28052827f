"""`cxray evaluate`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from cxray.cli import print_json
from cxray.cli.options import PATH, json_option, out_option, overwrite_option, seed_option

_SHOWN = ("auroc", "sensitivity", "specificity", "ppv", "npv", "accuracy")


@click.command("evaluate")
@click.argument("predictions", type=PATH)
@out_option
@click.option("--validation", type=PATH, help="Table of validation films; the threshold is chosen on it.")
@click.option("--positive", default="", help="The class that counts as ill; default: the second of two.")
@click.option("--threshold", type=click.FloatRange(0, 1), default=None, help="A threshold fixed beforehand.")
@click.option("--policy", default="target_sensitivity:0.95", show_default=True, help="How --validation is used.")
@click.option("--prevalence", type=float, multiple=True, help="Restate PPV and NPV at this share of ill (0–1).")
@click.option("--slice", "slices", multiple=True, metavar="COLUMN", help="Judge each value of this column apart.")
@click.option("--column", "columns", multiple=True, metavar="OURS=THEIRS", help="Column names of a foreign table.")
@click.option("--level", type=float, default=0.95, show_default=True, help="Confidence level.")
@seed_option
@overwrite_option
@json_option
def command(predictions: Path, out: Path, as_json: bool, **options: Any) -> None:
    """Judge PREDICTIONS, a CSV or Parquet table made by cxray or by anything else.

    Needs the columns path, label and score_<CLASS> with probabilities; patient makes the intervals honest. The
    operating point comes from --validation, else from --threshold, else from the table's own decisions.

    \b
    Example:
      cxray evaluate test.csv --out judged
      cxray evaluate vendor.csv --out judged --column path=image_id --column score_ILL=probability
    """
    from cxray.workflow.evaluate import evaluate_table

    replay = shlex.join(["cxray", *sys.argv[1:]])
    judgement = evaluate_table(predictions, out, command=replay, **options)
    if as_json:
        print_json(judgement.to_dict())
        return
    for line in _summary(judgement):
        click.echo(line)
    click.echo(f"Report: {out / 'report.html'}")


def _summary(judgement: Any) -> list[str]:
    lines = [f"Warning: {warning}" for warning in judgement.facts.get("warnings", [])]
    for record in judgement.records:
        if record.name not in _SHOWN or record.slice:
            continue
        name = f"{record.name} ({record.label})" if record.label else record.name
        if record.withheld:
            lines.append(f"{name:32} withheld: {record.withheld}")
        else:
            interval = "" if record.low is None else f"  ({record.low:.3f} to {record.high:.3f})"
            lines.append(f"{name:32} {record.value:.3f}{interval}  n = {record.n_images} films, {record.method}")
    return lines
