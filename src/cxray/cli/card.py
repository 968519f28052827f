"""`cxray card`."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from cxray.cli import print_json
from cxray.cli.options import PATH, json_option, out_option, overwrite_option


@click.command("card")
@click.argument("bundle", type=PATH)
@click.option("--evaluation", type=PATH, required=True, help="What cxray evaluate wrote for its predictions.")
@out_option
@click.option("--statements", type=PATH, help='TOML file of key = "text": what only the authors know.')
@overwrite_option
@json_option
def command(bundle: Path, evaluation: Path, out: Path, as_json: bool, **options: Any) -> None:
    """Write the model card of BUNDLE and fill the reporting checklists TRIPOD+AI, STARD-AI, CLAIM 2024, PROBAST+AI.

    The card is README.md with the metadata of the Hugging Face Hub, and the same as a page. An item without evidence
    says "not available"; --statements adds what authors alone can state, such as ethics, funding or data_source.

    \b
    Example:
      cxray card runs/first/bundle --evaluation judged --out card
      cxray card runs/first/bundle --evaluation judged --statements statements.toml --out card
    """
    from cxray.workflow.card import make_card

    replay = shlex.join(["cxray", *sys.argv[1:]])
    lists = make_card(bundle, evaluation, out, command=replay, **options)
    if as_json:
        items = {one.key: [dataclasses.asdict(item) for item in one.items] for one in lists}
        print_json(items)
        return
    for one in lists:
        found = ", ".join(f"{one.count(state)} {state}" for state in ("reported", "partly", "not available"))
        click.echo(f"{one.name:12} {len(one.items)} items: {found}")
    click.echo(f"Card: {out / 'README.md'} and {out / 'card.html'}")
