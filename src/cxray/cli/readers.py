"""`cxray readers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cxray.cli import print_json
from cxray.cli.options import PATH, json_option, out_option, overwrite_option, seed_option


@click.command("readers")
@click.argument("marks", type=PATH)
@out_option
@click.option("--positive", default="", help="The label that counts as ill; default: the last in order.")
@click.option("--level", type=float, default=0.95, show_default=True, help="Confidence level.")
@seed_option
@overwrite_option
@json_option
def command(marks: Path, out: Path, as_json: bool, **options: Any) -> None:
    """Judge MARKS, a table with one row a mark: path, reader, mark; optionally mode, label (the truth) and patient.

    Marks that are words give Cohen's and Fleiss' kappa, and with truth each reader's sensitivity and specificity.
    Marks that are numbers give each reader's AUROC and, with two modes (for example without and with the model), the
    multi-reader multi-case comparison after Obuchowski, Rockette and Hillis.

    \b
    Example:
      cxray readers marks.csv --out readers
    """
    from cxray.workflow.readers import judge_reader_table

    judgement = judge_reader_table(marks, out, **options)
    if as_json:
        print_json(judgement.to_dict())
        return
    for warning in judgement.facts["warnings"]:
        click.echo(f"Warning: {warning}")
    for record in judgement.records:
        name = f"{record.name} [{record.slice}]"
        if record.withheld:
            click.echo(f"{name:60} withheld: {record.withheld}")
            continue
        interval = "" if record.low is None else f"  ({record.low:.3f} to {record.high:.3f})"
        click.echo(f"{name:60} {record.value:.3f}{interval}  n = {record.n_images} cases")
    click.echo(f"Tables: {out / 'tables'}")
