"""The tutorial as page and as notebook, from one source.

    python scripts/tutorial.py FOLDER     # run it in FOLDER (chest_xray, elsewhere, runs/…) and write both with outputs
    python scripts/tutorial.py --check    # do both hold the source's cells?

`docs/tutorial/article.py` is Python with `# %%` marks between its cells. It runs cell by cell in a real kernel; what it
prints and draws goes into `article.ipynb` and, as text and pictures, into `article.md`.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

HOME = Path(__file__).resolve().parents[1] / "docs" / "tutorial"
SECONDS_A_CELL = 3600


def cells_of(source: str) -> list[tuple[str, str]]:
    """The cells of a source: ("markdown" or "code", text), comment marks taken off Markdown."""
    found = []
    for block in re.split(r"^# %%", source, flags=re.M)[1:]:
        head, _, body = block.partition("\n")
        if "[markdown]" in head:
            text = "\n".join(re.sub(r"^# ?", "", line) for line in body.strip().splitlines())
            found.append(("markdown", text))
        else:
            found.append(("code", body.strip()))
    return found


def notebook_of(source: str) -> Any:
    """The source as a notebook without outputs; cells are named by their text, so that a new run changes no names."""
    make = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    cells = []
    for place, (kind, text) in enumerate(cells_of(source)):
        cells.append(make[kind](text, id=hashlib.sha256(f"{place}{text}".encode()).hexdigest()[:8]))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def execute(notebook: Any, folder: Path) -> Any:
    """Run every cell of the notebook in a kernel whose working folder is `folder`; a cell that fails raises."""
    place = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=SECONDS_A_CELL, kernel_name="python3", resources=place).execute()
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            # Bars and notices of libraries are for whoever watches; results are what is printed and shown.
            cell.outputs = _merged([output for output in cell.outputs if output.get("name") != "stderr"])
    return notebook


def _merged(outputs: list[Any]) -> list[Any]:
    """Outputs with neighbouring pieces of printed text joined: a slow cell sends its lines in several pieces."""
    kept: list[Any] = []
    for output in outputs:
        if kept and output.output_type == kept[-1].output_type == "stream":
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def page_of(notebook: Any) -> tuple[str, dict[str, bytes]]:
    """An executed notebook as Markdown, and its pictures by file name."""
    parts, pictures = [], {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            if output.output_type == "stream":
                parts.append(f"```text\n{output.text.rstrip()}\n```")
            elif "image/png" in output.get("data", {}):
                name = f"tutorial-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode(output["data"]["image/png"])
                parts.append(f"![What the cell above draws](../images/{name})")
    note = "This page is also a notebook: `docs/tutorial/article.ipynb`. Its numbers are those of the real films."
    parts.insert(1, note)
    return "\n\n".join(parts) + "\n", pictures


def write(notebook: Any) -> None:
    """Write notebook, page and pictures to their places in `docs/`."""
    nbformat.write(notebook, HOME / "article.ipynb")
    text, pictures = page_of(notebook)
    (HOME / "article.md").write_text(text, "utf-8")
    for name, content in pictures.items():
        (HOME.parent / "images" / name).write_bytes(content)


def differences() -> list[str]:
    """What page and notebook lack of the source, as sentences; none when both hold it."""
    cells = cells_of((HOME / "article.py").read_text("utf-8"))
    notebook = nbformat.read(HOME / "article.ipynb", as_version=4)
    said = []
    if [(cell.cell_type, cell.source) for cell in notebook.cells] != cells:
        said.append("article.ipynb holds other cells than article.py")
    page = (HOME / "article.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)\n```$", page, flags=re.M | re.S)
    if blocks != [text for kind, text in cells if kind == "code"]:
        said.append("article.md holds other code than article.py")
    said += [f"article.md lacks: {text[:60]}" for kind, text in cells if kind == "markdown" and text not in page]
    return said


def main(arguments: list[str]) -> int:
    """Check, or run in a folder and write."""
    if arguments == ["--check"]:
        print("\n".join(differences()) or "Page and notebook hold the source.")
        return bool(differences())
    folder = Path(arguments[0])
    shutil.rmtree(folder / "pictures", ignore_errors=True)
    write(execute(notebook_of((HOME / "article.py").read_text("utf-8")), folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
