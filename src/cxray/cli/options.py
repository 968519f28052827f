"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)

data_argument = click.argument("data", type=PATH)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace earlier results in --out.")
seed_option = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Random seed.")
engine_option = click.option(
    "--engine",
    type=click.Choice(["auto", "onnxruntime", "openvino"]),
    default="auto",
    show_default=True,
    help="Inference engine; auto takes OpenVINO where it is installed.",
)


column_option = click.option(
    "--column", "columns", multiple=True, metavar="OURS=THEIRS", help="What a column of a foreign table is called here."
)
label_option = click.option(
    "--label", "labels", multiple=True, metavar="THEIRS=CLASS", help="What a label of a foreign table is called here."
)
out_option = click.option("--out", type=PATH, required=True, help="Folder for the results.")


def _names(_context: click.Context, _parameter: click.Parameter, text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


findings_option = click.option(
    "--findings", default="", metavar="A,B,…", callback=_names, help="Multi-label columns of a table."
)
