"""Films that the page offers to try: chosen evenly from a folder that the operator names."""

from __future__ import annotations

from pathlib import Path

ENDINGS = (".png", ".jpg", ".jpeg", ".dcm")
MOST = 16


def find_samples(folder: Path | None) -> dict[str, Path]:
    """Name to path of at most `MOST` films, spread evenly over all that lie in `folder` and below, links left out."""
    if folder is None or not folder.is_dir():
        return {}
    films = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and _is_plain_file(path))
    chosen = films[:: max(1, -(-len(films) // MOST))]
    return {_name(path, folder): path for path in chosen}


def _is_plain_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _name(path: Path, folder: Path) -> str:
    return "_".join(path.relative_to(folder).parts)
