"""`cxray plan`."""

from __future__ import annotations

from typing import Any

import click

from cxray.cli import print_json
from cxray.cli.options import json_option


@click.command("plan")
@click.option("--prevalence", type=float, default=0.5, show_default=True, help="Share of ill patients (0–1).")
@click.option("--auroc", type=float, default=0.9, show_default=True, help="The AUROC that is expected.")
@click.option("--sensitivity", type=float, default=0.95, show_default=True, help="The sensitivity to prove.")
@click.option("--half-width", type=float, default=0.05, show_default=True, help="Wanted half-width of intervals.")
@click.option("--power", type=float, default=0.9, show_default=True, help="Chance to find what is there.")
@json_option
def command(as_json: bool, **goals: Any) -> None:
    """How many patients a test set needs for stated goals.

    \b
    Example:
      cxray plan --prevalence 0.1 --auroc 0.95
    """
    from cxray.evaluate.planning import plan

    result = plan(**goals)
    if as_json:
        print_json({"facts": dict(result.facts), "rows": [dict(row) for row in result.rows]})
        return
    for row in result.rows:
        question, answer, source = list(row.values())[:3]
        click.echo(f"{answer:>10}  {question}  [{source}]")
    click.echo(f"Unit: {result.facts['unit']}.")
