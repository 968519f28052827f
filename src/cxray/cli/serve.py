"""`cxray serve`."""

from __future__ import annotations

from pathlib import Path

import click

from cxray.cli.options import PATH, engine_option
from cxray.errors import UsageError


@click.command("serve")
@click.argument("bundles", type=str, nargs=-1, required=True, metavar="[NAME=]BUNDLE...")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; beyond this machine needs a token.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0 = any free one.")
@click.option("--token-file", type=PATH, help="File with the token that every request must carry. [env: CXRAY_TOKEN]")
@click.option("--allowed-host", "allowed_hosts", multiple=True, help="Host name under which browsers come.")
@click.option("--threads", type=click.IntRange(min=0), default=0, help="Processor threads of the engine; 0 = all.")
@click.option("--decoders", type=click.IntRange(min=0), default=0, help="Child processes that decode; 0 = one a core.")
@click.option("--places", type=click.IntRange(min=1), default=64, show_default=True, help="Films under way at once.")
@click.option("--audit-log", type=PATH, help="Append one line a film, without patient data, to this file.")
@click.option("--samples", type=PATH, help="Folder of films that the page offers to try.")
@engine_option
def command(
    bundles: tuple[str, ...],
    host: str,
    port: int,
    token_file: Path | None,
    allowed_hosts: tuple[str, ...],
    threads: int,
    decoders: int,
    places: int,
    audit_log: Path | None,
    samples: Path | None,
    engine: str,
) -> None:
    """Serve one or more bundles over HTTP, with a page for people and an API for programs.

    The page is at the address that is printed once every bundle got its golden scores. Films are decoded in limited
    child processes and never stored. SIGTERM or Ctrl-C lets films under way finish.

    \b
    Example:
      cxray serve runs/first/bundle
      cxray serve adults=runs/a/bundle children=runs/c/bundle --port 9000
    """
    from cxray.serve.run import serve
    from cxray.serve.settings import Limits, Settings

    settings = Settings(
        bundles=_named(bundles),
        host=host,
        port=port,
        token=_read_token(token_file),
        allowed_hosts=tuple(name.lower() for name in allowed_hosts),
        engine=engine,
        threads=threads,
        decoders=decoders,
        audit_log=audit_log,
        samples=samples,
        limits=Limits(places=places, places_per_client=max(1, places * 3 // 4)),
    )
    serve(settings, on_ready=lambda address: click.echo(f"Ready: {address}"))


def _named(bundles: tuple[str, ...]) -> dict[str, Path]:
    """Names for bundles: as given before "=", else the name in the bundle, else its folder's."""
    from cxray.bundle import load_bundle

    named: dict[str, Path] = {}
    for text in bundles:
        name, equals, path = text.partition("=")
        if not equals or Path(text).exists():
            path = text
            name = str(load_bundle(Path(path)).facts.get("name", "")) or Path(path).resolve().name
        if not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise UsageError(f"{name!r} cannot be a model's name in an address.", "Use letters, digits, - _ and .")
        if name in named:
            raise UsageError(f"Two bundles are called {name!r}.", f"Name one: other={path}")
        load_bundle(Path(path))  # refuse a damaged bundle before anything listens
        named[name] = Path(path)
    return named


def _read_token(token_file: Path | None) -> str:
    import os

    if token_file is None:
        return os.environ.get("CXRAY_TOKEN", "")
    try:
        token = token_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The token file {token_file} cannot be read: {error}.", "Check --token-file.") from error
    if not token:
        raise UsageError(f"The token file {token_file} is empty.", "Write a token into it.")
    return token
