"""The part of requirements.txt that some extras need, with its versions and hashes, so that one lock serves all.

    python scripts/locked.py train serve    # what the base, these extras and building the package need

What needs what stands in the lock itself, in the comments "via" that the resolver writes. Only Python is needed.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_ENTRY = re.compile(r"^(?=[A-Za-z0-9])", flags=re.M)


def normal(requirement: str) -> str:
    """The library's name as indexes compare it: `Jinja2>=3.1` is `jinja2`."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
    return re.sub(r"[-_.]+", "-", name.group(0)).lower() if name else ""


def roots(pyproject: str, extras: Iterable[str]) -> set[str]:
    """What the package, its building and these extras name themselves.

    Raises:
        KeyError: there is no such extra.
    """
    read = tomllib.loads(pyproject)
    project = read["project"]
    named = [*project["dependencies"], *read["build-system"]["requires"], "editables"]  # of an editable installation
    for extra in extras:
        named += project["optional-dependencies"][extra]
    return {normal(requirement) for requirement in named}


def part(lock: str, wanted: set[str]) -> str:
    """Those entries of a lock that are wanted or needed by one that is."""
    entries = _ENTRY.split(lock)[1:]
    needed_by = {id(entry): {normal(name) for name in _askers(entry)} for entry in entries}
    kept, grew = set(wanted), True
    while grew:
        more = {normal(entry) for entry in entries if needed_by[id(entry)] & kept} - kept
        kept, grew = kept | more, bool(more)
    return "".join(entry for entry in entries if normal(entry) in kept)


def _askers(entry: str) -> list[str]:
    comments = "".join(re.findall(r"^    #(.*)$", entry, flags=re.M))
    return comments.replace("via", " ", 1).split()


if __name__ == "__main__":
    lock, pyproject = ((ROOT / name).read_text("utf-8") for name in ("requirements.txt", "pyproject.toml"))
    print(part(lock, roots(pyproject, sys.argv[1:])), end="")
