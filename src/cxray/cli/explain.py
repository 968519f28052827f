"""`cxray explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cxray.cli import print_json
from cxray.cli.options import PATH, engine_option, json_option
from cxray.errors import UsageError


@click.command("explain")
@click.argument("model", type=PATH)
@click.argument("image", type=PATH, required=False)
@click.option("--out", type=PATH, default=None, help="The PNG to write; with --card, where attribution.json goes.")
@click.option("--card", "data", type=PATH, default=None, metavar="DATA", help="Test the maps on these labelled films.")
@click.option("--class", "class_name", default="", help="The class to explain; default: the positive one.")
@click.option(
    "--method",
    type=click.Choice(["class_activation", "contrast", "occlusion"]),
    default=None,
    help="Kind of map; default: what passed its tests.",
)
@click.option("--untested-maps", is_flag=True, help="Show a map although its tests failed or were never made.")
@click.option("--films-from", type=PATH, default=None, help="Folder with the validation films, to show them.")
@click.option("--masks", type=PATH, default=None, help="With --card: PNG masks of the known opacities.")
@click.option("--other", type=PATH, multiple=True, help="With --card: a bundle of another seed. Repeatable.")
@click.option("--films", type=click.IntRange(min=1), default=40, show_default=True, help="With --card: films a class.")
@click.option(
    "--input", "input_card", type=PATH, default=None, help="Input card (TOML) of an ONNX file from elsewhere."
)
@engine_option
@json_option
def command(model: Path, image: Path | None, data: Path | None, as_json: bool, **options: Any) -> None:
    """Show what MODEL's score of IMAGE rests on, or test its maps with --card.

    MODEL is a bundle, or an ONNX file from elsewhere with --input. The picture holds the film, the map, the score, the
    gate, what changes the score although the patient stays the same, and validation films like this one. A map is
    drawn only when the model's card says that its maps passed their tests.

    \b
    Example:
      cxray explain runs/first/bundle --card runs/first/predictions/validation.csv
      cxray explain runs/first/bundle film.png --out explained.png
    """
    if (image is None) == (data is None):
        raise UsageError(
            "Either an IMAGE to explain or --card DATA to test the maps is needed, and not both.",
            "Example: cxray explain runs/first/bundle film.png --out explained.png",
        )
    if data is not None:
        _test_maps(model, data, options, as_json)
    else:
        assert image is not None
        _explain(model, image, options, as_json)


def _explain(model: Path, image: Path, options: dict[str, Any], as_json: bool) -> None:
    from cxray.workflow.explain import Wish, explain_film, open_model

    if options["out"] is None:
        raise UsageError("--out is needed: the PNG to write.", "Example: --out explained.png")
    opened = open_model(model, options["engine"], input_card=options["input_card"])
    wish = Wish(options["class_name"], options["method"] or "", options["untested_maps"], options["films_from"])
    shown = explain_film(opened, image, options["out"], wish)
    found = shown.explanation
    if as_json:
        print_json({"out": str(shown.path), **found.to_dict()})
        return
    click.echo(f"{found.class_name}: {found.score:.3f} (threshold {found.threshold:.3f}); decision {found.decision}.")
    click.echo(f"Gate: {found.gate.answer if found.gate else 'none in this model'}.")
    click.echo(f"Map: {found.verdict.reason}")
    for sentence in found.findings:
        click.echo(f"Caution: {sentence}")
    for effect in found.effects[:3]:
        flips = ", which flips the decision" if effect.flips else ""
        click.echo(f"Score with {effect.name}: {effect.score:.3f}{flips}.")
    click.echo(f"Picture: {shown.path}")


def _test_maps(model: Path, data: Path, options: dict[str, Any], as_json: bool) -> None:
    from cxray.explain.card import sentence
    from cxray.workflow.explain import CardRequest, open_model, write_card

    opened = open_model(model, options["engine"], input_card=options["input_card"])
    others = [open_model(path, options["engine"]) for path in options["other"]]
    names = (options["class_name"],) if options["class_name"] else ()
    request = CardRequest(data, options["masks"], options["films"], names, options["method"] or "")
    target = options["out"] or (opened.bundle.folder if opened.bundle else Path())
    card, path = write_card(opened, request, target, others)
    if as_json:
        print_json({"out": str(path), **card.to_dict()})
        return
    for part in card.classes:
        click.echo(f"{part.class_name}, {part.method}, {card.films}:")
        for one in part.measures:
            click.echo(f"  {sentence(one)}")
        click.echo(part.verdict().reason)
        for finding in part.findings():
            click.echo(f"Caution: {finding['sentence']}")
    click.echo(f"Card: {path}")
