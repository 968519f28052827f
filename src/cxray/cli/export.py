"""`cxray export`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cxray.cli import print_json
from cxray.cli.options import PATH, json_option


@click.command("export")
@click.argument("bundle", type=PATH)
@click.option(
    "--format", "kind", type=click.Choice(["onnx", "onnx-int8", "keras", "openvino", "litert"]), required=True
)
@click.option("--out", type=PATH, default=None, help="File to write; default: model.* beside the bundle.")
@click.option("--films", type=PATH, default=None, help="Films for the check; default: the run's validation films.")
@json_option
def command(bundle: Path, kind: str, out: Path | None, films: Path | None, as_json: bool) -> None:
    """Write BUNDLE's network in another format and check that it gives the same probabilities.

    onnx-int8 cannot: it is smaller and faster, and what that costs is measured on films and printed.

    \b
    Example:
      cxray export runs/first/bundle --format openvino
    """
    from cxray.workflow.export import export

    facts = export(bundle, kind, out, films)
    if as_json:
        print_json(facts)
    elif kind == "onnx-int8":
        _print_cost(facts)
    else:
        click.echo(
            f"{facts['path']}: {facts['bytes'] / 2**20:.1f} MiB, agrees with the bundle within "
            f"{facts['largest_difference']:.1e} in probability on {facts['films']} films."
        )


def _print_cost(facts: Mapping[str, Any]) -> None:
    click.echo(
        f"{facts['path']}: {facts['bytes'] / 2**20:.1f} MiB. On {facts['films']} films probabilities moved by "
        f"{facts['mean_difference']:.4f} on average and {facts['largest_difference']:.3f} at most; "
        f"{facts['decisions_changed']} decisions changed."
    )
    if facts["auroc"] is not None:
        click.echo(f"AUROC there: {facts['auroc']:.4f} before, {facts['auroc_int8']:.4f} in int8.")
