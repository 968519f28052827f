"""`cxray train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cxray.cli import print_json
from cxray.cli.options import PATH, data_argument, findings_option, json_option, overwrite_option

INTERRUPTED = 130


@click.command("train")
@data_argument
@click.option("--out", type=PATH, required=True, help="Folder for the run; must be empty.")
@click.option("--recipe", default="default", show_default=True, help="article, default, fast, or a TOML file.")
@click.option("--seed", type=click.IntRange(min=0), default=None, help="Replaces the recipe's seed.")
@click.option("--resume", is_flag=True, help="Continue an unfinished run, with the command that started it.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting, e.g. train.epochs=3.")
@click.option("--accept", multiple=True, metavar="CODE", help="Train in spite of this error of the audit. Repeatable.")
@findings_option
@click.option("--tensorboard", is_flag=True, help="Also write TensorBoard logs to OUT/tensorboard.")
@overwrite_option
@json_option
def command(data: Path, out: Path, as_json: bool, **options: Any) -> None:
    """Train a classifier on DATA and leave a complete run in --out.

    DATA is a folder with train/<CLASS>/ and test/<CLASS>/ (val/ is optional), a folder of class folders, or a CSV or
    Parquet table with the columns path and label. The films are audited first, and a leak stops the run; test films
    are read only to find copies of them among the films to learn from, and never scored or learned from.

    \b
    Example:
      cxray train chest_xray --out runs/first
      cxray train films.csv --out runs/second --set train.epochs=3
      cxray train chest_xray --out runs/quick --recipe fast
    """
    from cxray.workflow.train import train

    run = train(data, out, **options)
    if as_json:
        print_json(run.facts)
    else:
        print_run(run.facts, out)
    if run.facts["interrupted"]:
        raise click.exceptions.Exit(INTERRUPTED)


def print_run(facts: Any, out: Path) -> None:
    """What a finished run has to say, and where to go from it."""
    click.echo(f"Finished in {facts['seconds'] / 60:.1f} min; best epoch {facts['best_epoch']}.")
    for note in facts["notes"]:
        click.echo(f"- {note}")
    click.echo(f"Report: {out / 'report.html'}")
    click.echo(f"Next:   cxray predict {out / 'bundle'} FILMS --out predictions.csv")
