"""`cxray predict`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cxray.cli import print_json
from cxray.cli.options import PATH, engine_option, json_option
from cxray.errors import PartialResult

if TYPE_CHECKING:
    from cxray.workflow.predict import Scored


@click.command("predict")
@click.argument("bundle", type=PATH)
@click.argument("images", type=PATH, nargs=-1, required=True)
@click.option("--out", type=PATH, required=True, help="The predictions table to write, .csv or .parquet.")
@click.option("--split", default="", help="Score only films of this split: train, validation or test.")
@click.option("--threads", type=click.IntRange(min=0), default=0, help="Processor cores to use; 0 = all.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Arithmetic; bfloat16 is faster on recent processors and moves scores.",
)
@click.option("--heatmaps", type=PATH, default=None, help="Folder for one picture a film: the film with its map.")
@click.option("--untested-maps", is_flag=True, help="With --heatmaps: also maps that failed their tests or had none.")
@click.option("--features", type=PATH, default=None, help="Also write the network's features, for cxray evaluate.")
@click.option("--resume", is_flag=True, help="Go on behind the rows that an earlier, killed call left.")
@engine_option
@json_option
def command(
    bundle: Path,
    images: tuple[Path, ...],
    out: Path,
    heatmaps: Path | None,
    untested_maps: bool,
    features: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Score IMAGES (films, folders or tables) with BUNDLE and write one row a film.

    Labels and splits are taken over from folder names or table columns where they are known, so that the table can be
    judged with `cxray evaluate`. A film that cannot be read has its row, with the reason in `error`, and the exit
    code is 8. Rows are written as they come, in constant memory; after a kill or Ctrl-C, --resume goes on from there.

    \b
    Example:
      cxray predict runs/first/bundle chest_xray/test --out test.csv
    """
    from cxray.workflow.predict import predict

    maps = None
    if heatmaps is not None:
        from cxray.workflow.heat_maps import HeatMaps

        maps = HeatMaps.open(bundle, heatmaps, engine=options["engine"], untested=untested_maps)
    if features is not None:
        from cxray.workflow.features import check_features, write_features

        check_features(features)
    scored = predict(bundle, images, out, **options)
    if features is not None:
        chosen = {name: options[name] for name in ("engine", "threads", "split")}
        write_features(bundle, images, features, **chosen)
    pictures = maps.write(images, split=options["split"]) if maps else 0
    if as_json:
        print_json(_as_json(scored, pictures))
    else:
        click.echo(f"{scored.films} films scored, {scored.failed} of them without a result. Table: {scored.path}")
        if heatmaps is not None:
            click.echo(f"{pictures} heat maps: {heatmaps}")
        if scored.drift and scored.drift.alarm:
            click.echo(f"Beware: {scored.drift.sentence()}")
        if scored.has_labels:
            click.echo(f"Next:   cxray evaluate {scored.path} --out judged")
    if scored.failed:
        raise PartialResult(
            f"{scored.failed} of {scored.films} films have no result, the first because: {scored.first_error}",
            f"The others are in {scored.path}; see its column `error`.",
        )


def _as_json(scored: Scored, pictures: int) -> dict[str, Any]:
    drift = dataclasses.asdict(scored.drift) if scored.drift else None
    return {
        "out": str(scored.path),
        "films": scored.films,
        "failed": scored.failed,
        "heatmaps": pictures,
        "drift": drift,
    }
