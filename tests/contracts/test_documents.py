"""Documents that a machine can keep true: the tree, the commands, the links, and what must not stand anywhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cxray.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")])


def test_the_tree_in_the_documents_is_the_tree() -> None:
    tree = subprocess.run(
        [sys.executable, ROOT / "scripts" / "tree"], capture_output=True, text=True, check=True
    ).stdout
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    missing = [line for line in tree.splitlines() if f"    {line}\n" not in text]
    assert not missing, "run scripts/tree and put its output into docs/architecture.md: " + missing[0]


def test_the_readme_names_every_command() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [name for name in COMMANDS if f"cxray {name}" not in readme] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_to_files_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", document.read_text("utf-8")):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_no_placeholder_is_left_in_a_document() -> None:
    for document in DOCUMENTS:
        found = re.search(
            r"\b(TODO|FIXME|TBD|NUMBERS|ROAD|SPEED|EVALUATE|COMPARE|COMMIT|RESULT\d)\b", document.read_text("utf-8")
        )
        assert not found, f"{document.name} still holds the placeholder {found.group(0)}"  # type: ignore[union-attr]


def test_no_registry_address_and_no_path_of_a_machine_stand_in_any_file() -> None:
    forbidden = re.compile("--index" + "-url|--find" + "-links|pypi" + r"\.org|/work/|/root/" + r"|/home/[a-z]+/")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        path = ROOT / name
        if path.suffix in (".png", ".parquet") or path == Path(__file__).resolve():
            continue
        found = forbidden.search(path.read_text("utf-8", errors="replace"))
        assert not found, f"{name} holds {found.group(0)!r}"  # type: ignore[union-attr]
