"""The tutorial: page and notebook hold the same cells, and both run from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("nbclient", reason="needs the extra docs")
pytest.importorskip("ipykernel", reason="needs the extra docs")

from scripts import tutorial

STOPS = ("sixteen", "siblings", "shortcut-border", "specificity", "elsewhere")


def test_page_and_notebook_hold_the_cells_of_the_source() -> None:
    assert tutorial.differences() == []


def test_the_notebook_holds_results_of_every_stop() -> None:
    import nbformat

    notebook = nbformat.read(tutorial.HOME / "article.ipynb", as_version=4)
    silent = [cell.source.splitlines()[0] for cell in notebook.cells if cell.cell_type == "code" and not cell.outputs]
    assert silent in ([], ["from collections.abc import Callable"])
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert [stop for stop in STOPS if stop not in code] == []


def test_the_notebook_runs_in_a_kernel(tutorial_folder: Path) -> None:
    """Cell by cell, as Jupyter does it; a failing cell raises. The page holds the same code, so it runs too."""
    notebook = tutorial.execute(
        tutorial.notebook_of((tutorial.HOME / "article.py").read_text("utf-8")), tutorial_folder
    )
    printed = "".join(
        output.get("text", "") for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    )
    assert "The validation split has 16 films, 8 of them NORMAL" in printed
    assert re.search(r"default: 0 of \d+ validation films have a sibling in training", printed)
    assert re.search(r"border blackened +[01]\.\d{3}", printed)
    assert re.search(r"default, test +[01]\.\d{3} +[01]\.\d{3} +[01]\.\d{3}", printed)
    assert "Of " in printed and "films with pneumonia" in printed
    text, pictures = tutorial.page_of(notebook)
    assert list(pictures) == ["tutorial-1.png"] and pictures["tutorial-1.png"].startswith(b"\x89PNG")
    assert "![What the cell above draws](../images/tutorial-1.png)" in text


def test_a_page_that_lost_a_cell_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("article.py", "article.ipynb", "article.md"):
        (tmp_path / name).write_bytes((tutorial.HOME / name).read_bytes())
    page = (tmp_path / "article.md").read_text("utf-8")
    (tmp_path / "article.md").write_text(page.replace("siblings(run)", "siblings(article)"), "utf-8")
    monkeypatch.setattr(tutorial, "HOME", tmp_path)
    assert tutorial.differences() == ["article.md holds other code than article.py"]
