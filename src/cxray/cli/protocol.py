"""`cxray protocol`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from cxray.cli import print_json
from cxray.cli.options import PATH, json_option


@click.group("protocol")
def command() -> None:
    """Settle what will be judged, and lock it, before the test films are opened.

    \b
    Example:
      cxray protocol new protocol.toml
      cxray protocol lock protocol.toml
      cxray evaluate test.csv --out judged --protocol protocol.toml
      cxray protocol show protocol.toml
    """


@command.command("new")
@click.argument("path", type=PATH)
def new(path: Path) -> None:
    """Write a protocol to fill in to PATH.

    \b
    Example:
      cxray protocol new protocol.toml
    """
    from cxray.evaluate.protocol import new_protocol

    new_protocol(path)
    click.echo(f"Written: {path}\nFill it in, then: cxray protocol lock {path}")


@command.command("lock")
@click.argument("path", type=PATH)
@click.option("--amend", is_flag=True, help="Lock a changed protocol as a further version; additions are exploratory.")
@json_option
def lock(path: Path, amend: bool, as_json: bool) -> None:
    """Lock the protocol at PATH: its hash, content and the time go into PATH.lock.json. Keep both with the study.

    \b
    Example:
      cxray protocol lock protocol.toml
    """
    from cxray.evaluate.protocol import lock_path, lock_protocol

    found = lock_protocol(path, amend=amend)
    if as_json:
        print_json({"sha256": found.sha256, "locked_at": found.locked_at.isoformat(), "lock": str(lock_path(path))})
        return
    click.echo(f"Locked at {found.locked_at:%Y-%m-%d %H:%M} UTC: {found.sha256}\nLock: {lock_path(path)}")


@command.command("show")
@click.argument("path", type=PATH)
@json_option
def show(path: Path, as_json: bool) -> None:
    """Show what the protocol at PATH settles, and every version that was locked.

    \b
    Example:
      cxray protocol show protocol.toml
    """
    from cxray.evaluate.protocol import load_protocol, read_locks

    protocol, locks = load_protocol(path), read_locks(path)
    versions = [{"sha256": one.sha256, "locked_at": one.locked_at.isoformat()} for one in locks]
    if as_json:
        print_json({"protocol": dataclasses.asdict(protocol), "sha256": protocol.sha256, "locks": versions})
        return
    for name, value in dataclasses.asdict(protocol).items():
        click.echo(f"{name:12} {value}")
    for one in locks:
        click.echo(f"locked       {one.locked_at:%Y-%m-%d %H:%M} UTC  {one.sha256}")
    if not locks:
        click.echo("locked       never")
    elif locks[-1].sha256 != protocol.sha256:
        click.echo("changed      since it was last locked")
