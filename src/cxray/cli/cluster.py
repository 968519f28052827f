"""`cxray cluster`: scoring, sweeps and training on many machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cxray.cli import print_json
from cxray.cli.options import PATH, json_option, out_option, overwrite_option

address_option = click.option(
    "--address",
    default="",
    metavar="ADDRESS",
    help="pool (this machine, no Ray), local (start Ray here), auto (the cluster that runs here) or HOST:PORT. "
    "Default: RAY_ADDRESS, else pool.",
)


@click.group("cluster")
def command() -> None:
    """Score, sweep and train on many machines (Ray), or on all cores of this one.

    The same commands work on one machine without Ray. A killed command goes on with --resume.

    \b
    Example:
      cxray cluster predict runs/first/bundle archive.csv --out scored
      cxray cluster predict runs/first/bundle archive.csv --out /nfs/scored --address auto
    """


@command.command()
@click.argument("bundle", type=PATH)
@click.argument("films", nargs=-1, required=True)
@out_option
@address_option
@click.option("--workers", type=click.IntRange(min=0), default=0, help="Worker processes; 0 = one a processor.")
@click.option("--block", type=click.IntRange(min=0), default=0, help="Films in one piece of work; 0 = by their number.")
@click.option(
    "--engine",
    type=click.Choice(["auto", "onnxruntime", "openvino"]),
    default="onnxruntime",
    show_default=True,
    help="Inference engine, the same on every node; auto measures here and takes the faster everywhere.",
)
@click.option(
    "--film-seconds", type=click.FloatRange(1), default=120.0, show_default=True, help="Limit of decoding one film."
)
@click.option("--split", default="", help="Score only films of this split: train, validation or test.")
@click.option("--resume", is_flag=True, help="Go on where an earlier, killed call stopped.")
@overwrite_option
@json_option
def predict(bundle: Path, films: tuple[str, ...], out: Path, address: str, as_json: bool, **options: Any) -> None:
    """Score FILMS (tables, folders, films, or their URIs such as s3://bucket/films) with BUNDLE.

    Writes OUT/predictions.parquet, one row a film in the order of the input, ready for `cxray evaluate`, and
    OUT/dead_letters.csv: the films that have no result, and why. On a cluster, OUT and the films must lie where all
    nodes see them. A killed worker, node or command costs at most the pieces that were in work; --resume goes on.

    \b
    Example:
      cxray cluster predict runs/first/bundle archive.csv --out scored
      cxray evaluate scored/predictions.parquet --out judged
    """
    from cxray.workflow.cluster_predict import predict as score

    done = score(bundle, films, out, address=address, **options)
    if as_json:
        print_json(done.facts())
    else:
        click.echo(done.summary())
    done.check()
