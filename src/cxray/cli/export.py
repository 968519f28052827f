"""`cxray export`."""

from __future__ import annotations

from pathlib import Path

import click

from cxray.cli import print_json
from cxray.cli.options import PATH, json_option


@click.command("export")
@click.argument("bundle", type=PATH)
@click.option("--format", "kind", type=click.Choice(["onnx", "keras", "openvino", "litert"]), required=True)
@click.option("--out", type=PATH, default=None, help="File to write; default: model.* beside the bundle.")
@click.option("--films", type=PATH, default=None, help="Films for the check; default: the run's validation films.")
@json_option
def command(bundle: Path, kind: str, out: Path | None, films: Path | None, as_json: bool) -> None:
    """Write BUNDLE's network in another format and check that it gives the same probabilities.

    \b
    Example:
      cxray export runs/first/bundle --format openvino
    """
    from cxray.workflow.export import export

    facts = export(bundle, kind, out, films)
    if as_json:
        print_json(facts)
    else:
        click.echo(
            f"{facts['path']}: {facts['bytes'] / 2**20:.1f} MiB, agrees with the bundle within "
            f"{facts['largest_difference']:.1e} in probability on {facts['films']} films."
        )
