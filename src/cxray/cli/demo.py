"""`cxray demo`."""

from __future__ import annotations

from pathlib import Path

import click

from cxray.cli import print_json
from cxray.cli.options import PATH, json_option, overwrite_option, seed_option


@click.command("demo")
@click.option("--out", type=PATH, default="demo-run", show_default=True, help="Folder for everything the demo makes.")
@click.option("--patients", type=click.IntRange(min=40), default=320, show_default=True, help="Synthetic patients.")
@seed_option
@overwrite_option
@json_option
def command(out: Path, patients: int, seed: int, overwrite: bool, as_json: bool) -> None:
    """Walk the whole road with synthetic radiographs: audit, train, predict, evaluate, report. Offline, a few minutes.

    \b
    Example:
      cxray demo
      cxray demo --out /tmp/demo --seed 7
    """
    from cxray.workflow.demo import demo

    result = demo(out, seed=seed, patients=patients, overwrite=overwrite)
    auroc = result.judgement.record("auroc")
    if as_json:
        print_json({"report": str(result.report), "auroc": auroc.value, "seconds": result.seconds})
        return
    click.echo(f"Done in {result.seconds:.0f} s. AUROC on the sealed test patients: {auroc.value:.3f}")
    click.echo(f"Report: {result.report}")
    click.echo(f"How the model was made: {out / 'run' / 'report.html'}")
