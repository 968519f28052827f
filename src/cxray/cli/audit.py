"""`cxray audit`."""

from __future__ import annotations

from pathlib import Path

import click

from cxray.cli import print_json
from cxray.cli.options import data_argument, json_option, out_option, overwrite_option, seed_option


@click.command("audit")
@data_argument
@out_option
@seed_option
@overwrite_option
@json_option
def command(data: Path, out: Path, seed: int, overwrite: bool, as_json: bool) -> None:
    """Find what is wrong with DATA before anything is trained: leaks, duplicates, shortcuts, shift, broken files.

    \b
    Example:
      cxray audit chest_xray --out audit
    """
    from cxray import rundir
    from cxray.data.audit import audit

    rundir.prepare_folder(out, overwrite=overwrite)  # before the work, so that a wrong --out costs no time
    result = audit(data, seed=seed)
    result.save(out)
    if as_json:
        print_json(result.as_json())
    else:
        click.echo(result.text())
        click.echo(f"Findings: {out / 'audit.json'}")
