"""`cxray adapt`."""

from __future__ import annotations

from pathlib import Path

import click

from cxray.cli import print_json
from cxray.cli.options import PATH, json_option


@click.command("adapt")
@click.argument("bundle", type=PATH)
@click.argument("data", type=PATH)
@click.option("--out", type=PATH, required=True, help="Folder for the new bundle and what the change is worth.")
@click.option(
    "--method",
    type=click.Choice(["auto", "threshold", "recalibrate", "head"]),
    default="auto",
    help="What may change; auto takes the one that does best out-of-fold.",
)
@click.option("--policy", default="", help="Threshold policy; default: the bundle's own.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Draws the folds.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier adaptation in --out.")
@json_option
def command(
    bundle: Path, data: Path, out: Path, method: str, policy: str, seed: int, overwrite: bool, as_json: bool
) -> None:
    """Fit BUNDLE to local films of DATA whose answers are known, and say what that is worth.

    Every method is fitted on four fifths of the patients and judged on the rest; the new bundle lies in OUT/bundle, the
    comparison with the unchanged model in OUT/report.html.

    \b
    Example:
      cxray adapt runs/first/bundle our_hospital --out runs/adapted
    """
    from cxray.workflow.adapt import adapt

    done = adapt(bundle, data, out, method=method, policy=policy, seed=seed, overwrite=overwrite)
    if as_json:
        print_json({"bundle": str(done.bundle), **done.facts["adapted"]})
        return
    known = done.facts["adapted"]
    click.echo(f"{known['films']} films of {known['patients']} patients; method: {done.method}. Out-of-fold:")
    for record in done.comparison.records:
        if record.slice.startswith("model=") and record.value is not None:
            interval = "" if record.low is None else f" ({record.low:.3f} to {record.high:.3f})"
            click.echo(f"  {record.slice.removeprefix('model='):12s} {record.name:12s} {record.value:.3f}{interval}")
    click.echo(f"Bundle: {done.bundle}\nReport: {out / 'report.html'}")
