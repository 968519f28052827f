"""`cxray cluster`: scoring, sweeps and training on many machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cxray.cli import print_json
from cxray.cli.options import PATH, data_argument, findings_option, json_option, out_option, overwrite_option
from cxray.cli.train import INTERRUPTED, print_run

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
def predict(
    bundle: Path, films: tuple[str, ...], out: Path, resume: bool, overwrite: bool, as_json: bool, **options: Any
) -> None:
    """Score FILMS (tables, folders, films, or their URIs such as s3://bucket/films) with BUNDLE.

    Writes OUT/predictions.parquet, one row a film in the order of the input, ready for `cxray evaluate`, and
    OUT/dead_letters.csv: the films that have no result, and why. On a cluster, OUT and the films must lie where all
    nodes see them. A killed worker, node or command costs at most the pieces that were in work; --resume goes on.

    \b
    Example:
      cxray cluster predict runs/first/bundle archive.csv --out scored
      cxray evaluate scored/predictions.parquet --out judged
    """
    from cxray.workflow.cluster_predict import Options
    from cxray.workflow.cluster_predict import predict as score

    done = score(bundle, films, out, Options(**options), resume=resume, overwrite=overwrite)
    if as_json:
        print_json(done.facts())
    else:
        click.echo(done.summary())
    done.check()


_parts = (
    click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting of every recipe."),
    click.option("--accept", multiple=True, metavar="CODE", help="Train in spite of this error of the audit."),
    findings_option,
    click.option(
        "--cpus", type=click.IntRange(min=1), default=1, show_default=True, help="Processors of each, on Ray."
    ),
    click.option("--gpus", type=click.IntRange(min=0), default=0, show_default=True, help="GPUs of each, on Ray."),
    click.option(
        "--restarts", type=click.IntRange(min=0), default=2, show_default=True, help="New starts after a death."
    ),
    address_option,
    out_option,
    overwrite_option,
    json_option,
)


def _training_options(command: Any) -> Any:
    for option in reversed(_parts):
        command = option(command)
    return command


@command.command()
@data_argument
@click.option("--recipe", "recipes", multiple=True, help="A recipe or TOML file. Repeatable.  [default: default]")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Seeds, from 0.")
@click.option("--folds", type=click.IntRange(min=1), default=5, show_default=True, help="1 = one fifth is held out.")
@click.option("--search", multiple=True, metavar="KEY=VALUES", help="Search a setting: a..b, a..b:log or a,b,c.")
@click.option("--samples", type=click.IntRange(min=1), default=1, help="Settings to try in each fold, with --search.")
@click.option(
    "--measure",
    type=click.Choice(["validation_auroc", "validation_loss", "validation_accuracy"]),
    default="validation_auroc",
    show_default=True,
    help="What settings are chosen by, inside the training part.",
)
@click.option("--final", is_flag=True, help="Search once more on all patients: settings and a model to use.")
@click.option("--fold-seed", type=click.IntRange(min=0), default=0, show_default=True, help="Draws the folds.")
@click.option(
    "--parallel", type=click.IntRange(min=1), default=1, show_default=True, help="Trials at once, without Ray."
)
@click.option("--resume", is_flag=True, help="Go on where an earlier, killed call stopped.")
@_training_options
def sweep(
    data: Path,
    out: Path,
    address: str,
    parallel: int,
    cpus: int,
    gpus: int,
    restarts: int,
    recipes: tuple[str, ...],
    as_json: bool,
    overrides: tuple[str, ...],
    accept: tuple[str, ...],
    findings: tuple[str, ...],
    resume: bool,
    overwrite: bool,
    **asked: Any,
) -> None:
    """Train recipes over seeds and patient folds of DATA, and compare them on patients none of them has seen.

    Every recipe is trained once a fold and seed; with --search Optuna proposes settings inside each fold. What is
    chosen is chosen on validation patients inside the training part; test films are set aside and never scored. OUT
    gets trials.csv, predictions/ (one table a recipe and seed), comparison/report.html, best.toml and sweep.json.

    \b
    Example:
      cxray cluster sweep chest_xray --recipe default --recipe fast --seeds 3 --folds 5 --out swept
      cxray cluster sweep chest_xray --search train.learning_rate=1e-5..1e-2:log --samples 10 --final --out searched
    """
    from cxray.workflow.cluster_sweep import Means, Question
    from cxray.workflow.cluster_sweep import sweep as run

    question = Question(recipes=recipes or ("default",), **asked)
    means = Means(address, parallel, cpus, gpus, restarts)
    done = run(
        data, out, question, means, overrides=overrides, findings=findings, accept=accept, resume=resume,
        overwrite=overwrite,
    )  # fmt: skip
    if as_json:
        print_json(dict(done.facts))
    else:
        click.echo(done.summary())
    done.check()


@command.command()
@data_argument
@click.option("--workers", type=click.IntRange(min=2), required=True, help="How many train together.")
@click.option("--recipe", default="default", show_default=True, help="article, default, or a TOML file.")
@click.option("--seed", type=click.IntRange(min=0), default=None, help="Replaces the recipe's seed.")
@click.option("--resume", is_flag=True, help="Continue an unfinished run, with the command that started it.")
@_training_options
def train(
    data: Path,
    out: Path,
    workers: int,
    address: str,
    cpus: int,
    gpus: int,
    restarts: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Train one classifier on DATA with several workers, and leave in --out what `cxray train` leaves.

    Each worker takes its part of every batch, and the sum of their gradients is what one process would have computed.
    On a cluster, DATA and --out must lie where all nodes see them. A dead worker costs the unfinished epoch.

    \b
    Example:
      cxray cluster train chest_xray --workers 2 --out runs/together
      cxray cluster train /nfs/chest_xray --workers 4 --gpus 1 --address auto --out /nfs/runs/together
    """
    from cxray.workflow.cluster_train import Team
    from cxray.workflow.cluster_train import train as run

    done = run(data, out, Team(workers, address, cpus, gpus, restarts), **options)
    if as_json:
        print_json(dict(done.facts))
    else:
        print_run(done.facts, out)
    if done.facts["interrupted"]:
        raise click.exceptions.Exit(INTERRUPTED)
