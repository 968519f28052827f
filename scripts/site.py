"""The documentation site: the pages of the repository and a reference made from the code, put together and built.

    python scripts/site.py            # writes build/site; open build/site/index.html (its search box needs a server)
    python scripts/site.py --serve    # the same, and a page that follows what you write

Guides keep their places in `docs/` and their links are those of the repository, so that they read well there too.
Here they are copied into `build/site-source`, links to files that are no page become plain text, and the pages of
`scripts/reference.py` are added. Everything is offline: no font, script or picture of another machine.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli_w

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "build" / "site-source"
# Pages that lie outside docs/, and where the site shows them.
ELSEWHERE = {
    "benchmarks/README.md": "numbers/benchmarks.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "tests/long/README.md": "numbers/simulations.md",
    "tests/reference/README.md": "numbers/references.md",
}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]*)(#[^)\s]*)?\)")


def homes() -> dict[Path, str]:
    """Every written page: its file in the repository to its path on the site."""
    found = {path: path.relative_to(ROOT / "docs").as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))}
    return found | {ROOT / name: home for name, home in ELSEWHERE.items()}


def relinked(text: str, path: Path, pages: dict[Path, str]) -> str:
    """The text of the page at `path`, its links those of the site; a link to a file that is no page becomes text."""
    here = Path(pages[path]).parent

    def target(match: re.Match[str]) -> str:
        mark, words, address, anchor = match.groups(default="")
        if not address or "://" in address or address.startswith("mailto:"):
            return match.group(0)
        aim = (path.parent / address).resolve()
        if aim in pages:
            return f"[{words}]({os.path.relpath(pages[aim], here).replace(os.sep, '/')}{anchor})"
        if aim.is_relative_to(ROOT / "docs") and aim.is_file():
            home = aim.relative_to(ROOT / "docs")
            return f"{mark}[{words}]({os.path.relpath(home, here).replace(os.sep, '/')})"
        return words

    # Code is shown as it is: only text outside of fences and of indented blocks holds links.
    pieces = re.split(r"(^```.*?^```\s*?$)", text, flags=re.M | re.S)
    return "".join(piece if place % 2 else _LINK.sub(target, piece) for place, piece in enumerate(pieces))


def assemble(target: Path = SOURCE) -> list[str]:
    """Put the site's source together in `target`, which is emptied first.

    Returns:
        The paths of all pages, sorted.
    """
    sys.path.insert(0, str(ROOT))
    from scripts import reference, snippets

    shutil.rmtree(target, ignore_errors=True)
    pages = homes()
    texts = {home: relinked(path.read_text("utf-8") + snippets.note(path), path, pages) for path, home in pages.items()}
    texts |= {f"reference/{name}": text for name, text in reference.pages().items()}
    texts["reference/tested.md"] = snippets.overview()
    for home, text in texts.items():
        (target / home).parent.mkdir(parents=True, exist_ok=True)
        (target / home).write_text(text, "utf-8")
    for path in (ROOT / "docs").rglob("*"):
        if path.is_file() and path.suffix != ".md":
            copy = target / path.relative_to(ROOT / "docs")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    return sorted(texts)


def settings(pages: list[str]) -> dict[str, Any]:
    """`zensical.toml` for these pages: an entry that ends in a slash stands for all generated pages of that folder."""
    read = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))
    read["project"] |= {
        "docs_dir": SOURCE.name,
        "site_dir": "site",
        "nav": [_expanded(entry, pages) for entry in read["project"]["nav"]],
    }
    return read


def _expanded(entry: Any, pages: list[str]) -> Any:
    if isinstance(entry, dict):
        return {name: _expanded(value, pages) for name, value in entry.items()}
    if isinstance(entry, list):
        return [_expanded(item, pages) for item in entry]
    if not entry.endswith("/"):
        return entry
    below = [page for page in pages if page.startswith(entry)]
    first = [page for page in below if page.endswith("/index.md")]
    return first + [{Path(page).stem.replace("-", " "): page} for page in below if page not in first]


def _leaves(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    for item in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else []:
        yield from _leaves(item)


def build(*, serve: bool = False) -> int:
    """Assemble and build, every warning an error. Returns the builder's exit code."""
    pages = assemble()
    read = settings(pages)
    forgotten = sorted(set(pages) - set(_leaves(read["project"]["nav"])))
    if forgotten:
        print(f"zensical.toml does not name: {', '.join(forgotten)}", file=sys.stderr)
        return 1
    resolved = SOURCE.parent / "zensical.toml"
    resolved.write_text(tomli_w.dumps(read), "utf-8")
    words = ["serve"] if serve else ["build", "--clean", "--strict"]
    builder = [sys.executable, "-m", "zensical", *words, "--config-file", str(resolved)]
    return subprocess.run(builder, cwd=SOURCE.parent, check=False).returncode


if __name__ == "__main__":
    sys.exit(build(serve="--serve" in sys.argv[1:]))
