"""`cxray selftest`."""

from __future__ import annotations

import dataclasses

import click

from cxray.cli import print_json
from cxray.cli.options import json_option
from cxray.errors import CxrayError


@click.command("selftest")
@json_option
def command(as_json: bool) -> None:
    """Reproduce published reference values on this machine and print the agreement.

    \b
    Example:
      cxray selftest
    """
    from cxray.evaluate import selftest

    rows = selftest()
    if as_json:
        print_json([dataclasses.asdict(row) for row in rows])
    else:
        for row in rows:
            mark = "ok  " if row.agrees else "FAIL"
            click.echo(f"{mark} {row.name:60} expected {row.expected:.9g}  measured {row.measured:.9g}")
    failed = sum(not row.agrees for row in rows)
    if failed:
        raise CxrayError(
            f"{failed} of {len(rows)} reference values are not reproduced here.", "Report versions and CPU."
        )
    if not as_json:
        click.echo(f"All {len(rows)} reference values agree.")
