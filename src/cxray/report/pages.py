"""Templates to finished pages: one file that needs no network, no server and no script to be read.

The page forbids itself every request (Content-Security-Policy in the page: no source but its own) and allows exactly
one script and one style sheet, each by hash: the package's own. The script only shows and hides what is already
printed. Autoescaping is always on.
"""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from cxray import __version__
from cxray.report import numbers, sentences
from cxray.report.text import printable
from cxray.rundir import write_text

_TEMPLATES = Path(__file__).parent / "templates"


def write_page(path: Path, template: str, **context: Any) -> Path:
    """Render `template` (a file name in `templates/`) with `context` and write it to `path`, whole or not at all.

    Raises:
        OutputError: the folder cannot be written.
    """
    style, script = (_asset(name) for name in ("page.css", "page.js"))
    page = (
        _environment()
        .get_template(template)
        .render(
            **context, style=Markup(style), script=Markup(script), policy=_policy(style, script), version=__version__
        )
    )
    write_text(path, page)
    return path


def picture(png: bytes) -> Markup:
    """PNG bytes as an address that needs no network."""
    return Markup("data:image/png;base64,{}").format(base64.b64encode(png).decode("ascii"))


def moment(iso: str) -> str:
    """An ISO time as people write it, to the minute; whatever else it is, printed as it came."""
    try:
        parsed = datetime.datetime.fromisoformat(iso)
    except ValueError:
        return printable(iso)
    return f"{parsed:%Y-%m-%d %H:%M} {parsed.tzname() or ''}".strip()


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "shown": numbers.shown,
        "interval": numbers.interval,
        "level": numbers.level,
        "count": numbers.count,
        "percent": numbers.percent,
        "plain": numbers.plain,
        "fraction": numbers.fraction,
        "share": numbers.share,
        "moment": moment,
        "duration": numbers.duration,
        "record_title": numbers.title,
        "printable": printable,
        "name": sentences.name,
        "based_on": sentences.based_on,
    }
    environment.globals |= {"cell": sentences.cell, "fact": sentences.fact, "data": numbers.data}
    return environment


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


@functools.cache
def _asset(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
