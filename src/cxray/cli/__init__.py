"""The command line: parse, call one library function, print.

Each command is one module, imported when it is used, so that `cxray --help` answers at once. Results go to stdout or
`--out`, everything else to stderr. Exit codes are those of `cxray.errors`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from cxray import __version__
from cxray.errors import CxrayError

# Command to one line of help, so that the overview needs no import. The module has the command's name.
COMMANDS = {
    "adapt": "Fit a finished model to local films and say what that is worth.",
    "audit": "Find what is wrong with the data before anything is trained.",
    "cache": "Show or clear the cache of prepared films.",
    "card": "Write a model card and fill reporting checklists.",
    "cluster": "Score, sweep and train on many machines (Ray), or on all cores of this one.",
    "compare": "Compare several models on the same films.",
    "deidentify": "Take patients out of DICOM films, so that they may leave.",
    "demo": "Synthetic radiographs: audit, train, evaluate, report, offline.",
    "evaluate": "Judge a table of predictions, whoever made it.",
    "explain": "Show what a score rests on, and test whether the maps can be believed.",
    "export": "Write a bundle's network in another format.",
    "pacs": "Films from the PACS, results back to it.",
    "plan": "How many patients a study needs.",
    "predict": "Score films with a bundle.",
    "protocol": "Settle what will be judged, and lock it, before the test is opened.",
    "readers": "Judge readers: agreement, and reading with against without the model.",
    "selftest": "Reproduce published reference values on this machine.",
    "serve": "Serve bundles over HTTP, with a page for people.",
    "train": "Train a classifier on a folder or table of films.",
}


class _Lazy(click.Group):
    """Knows the commands' names and imports a command's module only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"cxray.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="cxray")
def cli() -> None:
    """From a folder of chest radiographs to a classifier that can be defended.

    Start with `cxray demo`. Research use only; not a medical device.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with the exit code of the outcome."""
    # TensorFlow's start-up chatter is written before any Python filter can see it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        # Without standalone mode click returns the code of `Exit` instead of leaving with it.
        code = cli.main(args=list(arguments) if arguments is not None else None, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except CxrayError as error:
        click.echo(f"Error: {error.message}", err=True)
        if error.next_step:
            click.echo(f"\n{error.next_step}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output left (`| head`); there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def print_json(value: Any) -> None:
    """One JSON document to stdout, for machines; what is not valid Unicode in file names is a JSON escape."""
    from cxray.rundir import printable

    click.echo(printable(json.dumps(value, ensure_ascii=False, indent=2, default=str)))
