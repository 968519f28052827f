"""`cxray cache`."""

from __future__ import annotations

import click

from cxray.cli import print_json
from cxray.cli.options import json_option


@click.command("cache")
@click.argument("action", type=click.Choice(["show", "clear"]), default="show")
@json_option
def command(action: str, as_json: bool) -> None:
    """Show or clear the cache of prepared films (CXRAY_CACHE, else ~/.cache/cxray).

    \b
    Example:
      cxray cache show
      cxray cache clear
    """
    from cxray.data.cache import cache_folder, clear_cache, measure_cache

    folder = cache_folder()
    files, size = clear_cache() if action == "clear" else measure_cache()
    if as_json:
        print_json({"folder": str(folder), "files": files, "bytes": size, "cleared": action == "clear"})
    else:
        verb = "Cleared" if action == "clear" else "The cache holds"
        click.echo(f"{verb} {files} files, {size / 2**20:.0f} MiB, in {folder}")
