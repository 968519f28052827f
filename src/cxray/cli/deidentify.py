"""`cxray deidentify`."""

from __future__ import annotations

from pathlib import Path

import click

from cxray.cli import print_json
from cxray.cli.options import PATH, json_option, out_option, overwrite_option
from cxray.errors import PartialResult


@click.command("deidentify")
@click.argument("films", type=PATH, nargs=-1, required=True)
@out_option
@click.option(
    "--key", type=PATH, help="File with the secret key; made when it does not exist. Keep it in the hospital."
)
@click.option("--dates", type=click.Choice(["shift", "remove"]), default="shift", show_default=True)
@click.option("--keep-characteristics", is_flag=True, help="Keep sex, age (90 and more become 90), size and weight.")
@click.option("--keep-folders", is_flag=True, help="Keep the names of the folders, for example train/NORMAL.")
@overwrite_option
@json_option
def command(
    films: tuple[Path, ...],
    out: Path,
    key: Path | None,
    dates: str,
    keep_characteristics: bool,
    keep_folders: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """De-identify DICOM FILMS (files or folders) into a new folder.

    Only listed elements with checked values stay. Patients, studies and films get codes that depend on the key: the
    same key gives the same codes, so films of one patient stay together across runs. Pictures are not searched for
    burned-in text; films that declare it, and secondary captures, are refused, and the exit code is then 8.

    \b
    Example:
      cxray deidentify archive/2024 --out released --key hospital.key
    """
    from cxray.data.dicom.deidentify import Wishes
    from cxray.workflow.deidentify import deidentify

    wishes = Wishes(characteristics=keep_characteristics, dates=dates)
    done = deidentify(films, out, key=key, wishes=wishes, keep_folders=keep_folders, overwrite=overwrite)
    counts = {reason: len(paths) for reason, paths in done.refused.items()}
    if as_json:
        print_json(
            {"out": str(out), "films": done.films, "patients": done.patients, "refused": counts,
             "passed_over": dict(done.passed_over), "facts": dict(done.facts)}
        )  # fmt: skip
    else:
        click.echo(f"{done.films} films of {done.patients} patients written to {out}.")
        for fact, count in sorted(done.facts.items()):
            click.echo(f"  {count} × {fact}")
    for reason, count in done.passed_over.items():
        click.echo(f"Passed over: {count} × {reason}.", err=True)
    if counts:
        first_reason, first_paths = next(iter(done.refused.items()))
        told = ", ".join(f"{count} × {reason}" for reason, count in counts.items())
        raise PartialResult(
            f"Not written: {told}. The first is {first_paths[0]} ({first_reason}).", "The others are complete."
        )
