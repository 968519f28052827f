"""`cxray audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cxray.cli import print_json
from cxray.cli.options import (
    PATH,
    data_argument,
    findings_option,
    json_option,
    out_option,
    overwrite_option,
    seed_option,
)


@click.command("audit")
@data_argument
@out_option
@click.option(
    "--known",
    type=PATH,
    multiple=True,
    help="tables/films.csv of another audit: are its films among these? Repeatable.",
)
@findings_option
@seed_option
@overwrite_option
@json_option
def command(data: Path, out: Path, as_json: bool, **options: Any) -> None:
    """Find what is wrong with DATA before anything is trained: leaks, duplicates, shortcuts, shift, broken files.

    \b
    Example:
      cxray audit chest_xray --out audit
      cxray audit other_hospital --out other --known audit/tables/films.csv
    """
    from cxray.workflow.audit import audit_folder

    result = audit_folder(data, out, **options)
    if as_json:
        print_json(result.as_json())
    else:
        click.echo(result.text())
        click.echo(f"Findings: {out / 'audit.json'}")
        click.echo(f"Page:     {out / 'audit.html'}")
