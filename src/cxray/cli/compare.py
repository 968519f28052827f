"""`cxray compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cxray.cli import print_json
from cxray.cli.options import PATH, json_option, out_option, overwrite_option, seed_option


@click.command("compare")
@click.argument("predictions", type=PATH, nargs=-1, required=True)
@out_option
@click.option("--validation", type=PATH, multiple=True, help="One validation table a model, in the same order.")
@click.option("--positive", default="", help="The class that counts as ill; default: the second of two.")
@click.option("--margin", type=float, default=None, help="Largest loss of AUROC that is still not inferior.")
@click.option("--column", "columns", multiple=True, metavar="OURS=THEIRS", help="Column names of foreign tables.")
@seed_option
@overwrite_option
@json_option
def command(predictions: tuple[Path, ...], out: Path, as_json: bool, **options: Any) -> None:
    """Compare two or more PREDICTIONS tables on the films that all of them scored: paired tests, by patient.

    Write name=path to choose a model's name.

    \b
    Example:
      cxray compare article=a.csv default=b.csv --out compared
    """
    from cxray.workflow.evaluate import compare_tables

    result = compare_tables(predictions, out, **options)
    if as_json:
        print_json(result.to_dict())
        return
    for record in result.records:
        name = f"{record.name} [{record.slice}]"
        if record.withheld:
            click.echo(f"{name:60} withheld: {record.withheld}")
        else:
            interval = "" if record.low is None else f"  ({record.low:.3f} to {record.high:.3f})"
            click.echo(f"{name:60} {record.value:.3f}{interval}")
    click.echo(f"Tables: {out / 'tables'}")
