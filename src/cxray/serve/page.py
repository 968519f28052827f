"""The page and its assets: a literal list of files inside the package, and nothing else, is ever served from disk."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import Response

from cxray.serve.problems import Problem

router = APIRouter(include_in_schema=False)
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def _read_assets() -> dict[str, tuple[bytes, str]]:
    folder = files("cxray.serve") / "assets"
    found = {}
    for entry in folder.iterdir():
        kind = _TYPES.get(f".{entry.name.rpartition('.')[2]}")
        if kind:
            found[entry.name] = (entry.read_bytes(), kind)
    return found


ASSETS = _read_assets()


@router.get("/")
async def index() -> Response:
    """The page."""
    return _asset("index.html")


@router.get("/favicon.ico")
async def favicon() -> Response:
    """The icon that browsers ask for unasked."""
    return _asset("icon.svg")


@router.get("/assets/{name}")
async def asset(name: str) -> Response:
    """One file of the page."""
    return _asset(name)


def _asset(name: str) -> Response:
    if name not in ASSETS:
        raise Problem("not_found")
    content, kind = ASSETS[name]
    return Response(content, headers={"Content-Type": kind, "Cache-Control": "no-cache"})
