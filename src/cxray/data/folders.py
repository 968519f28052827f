"""Walking folders of films: what is a film, what is passed over, which folder plays which part.

Nothing is dropped in silence: every file that is passed over is counted under its reason.
"""

from __future__ import annotations

import dataclasses
import os
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

from cxray.data.sniff import FILM_KINDS, sniff_file
from cxray.errors import DataError
from cxray.rundir import MARKER

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_STRAY_NAMES = {".ds_store", "thumbs.db", "desktop.ini", "ehthumbs.db"}
_STRAY_FOLDERS = {"__macosx", ".git", ".ipynb_checkpoints", "@eadir"}
FILM_SUFFIXES = {".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff", ".bmp", ".webp", ".dcm", ".dicom"}
_DEEPEST_ROOT = 3


@dataclasses.dataclass(frozen=True)
class FilmFile:
    """A file that is, or claims to be, a film; `parts` are the folder names between the root and the file."""

    path: Path
    parts: tuple[str, ...]


def walk_films(root: Path, passed_over: Counter[str], skip: frozenset[Path] = frozenset()) -> Iterator[FilmFile]:
    """Every film under `root` in sorted order, following links once.

    A file is a film when its content or its name says so: a text file called `.jpeg` is reported as unreadable later,
    a README is only counted. `passed_over` collects the count per reason. `skip` are folders to leave out.

    Raises:
        DataError: `root` is no folder or may not be read.
    """
    if not root.is_dir():
        raise DataError(f"There is no folder at {root}.", "Check the path.")
    if not os.access(root, os.R_OK | os.X_OK):
        raise DataError(f"The folder {root} may not be read.", "Check its permissions.")
    yield from _walk(root, (), passed_over, skip, ancestors=frozenset())


def _walk(
    folder: Path,
    parts: tuple[str, ...],
    passed_over: Counter[str],
    skip: frozenset[Path],
    ancestors: frozenset[tuple[int, int]],
) -> Iterator[FilmFile]:
    try:
        status = folder.stat()
        entries = sorted(folder.iterdir())
    except OSError:
        passed_over["folder that may not be read"] += 1
        return
    here = (status.st_dev, status.st_ino)
    if here in ancestors:
        passed_over["link that leads back to its own folder"] += 1
        return
    for entry in entries:
        if _is_folder(entry):
            if entry in skip:
                continue
            if entry.name.lower() in _STRAY_FOLDERS:
                passed_over[f"folder {entry.name}"] += 1
            elif (entry / MARKER).exists():
                passed_over["folder of cxray results"] += 1
            else:
                yield from _walk(entry, (*parts, entry.name), passed_over, skip, ancestors | {here})
        else:
            reason = _reason_to_pass_over(entry)
            if reason:
                passed_over[reason] += 1
            else:
                yield FilmFile(entry, parts)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a folder that may be listed but not entered
        return False


def _reason_to_pass_over(path: Path) -> str:
    try:
        return _reason(path)
    except OSError:
        return "file that may not be looked at"


def reason_in_name(name: str) -> str:
    """Why a file of this name is passed over whatever it holds; "" when the name is no reason."""
    name = name.lower()
    if name in _STRAY_NAMES or name.startswith("._"):
        return "file left by an operating system"
    if name.startswith("."):
        return "hidden file"
    return "index of a DICOM disc" if name == "dicomdir" else ""


def _reason(path: Path) -> str:
    reason = reason_in_name(path.name)
    if reason:
        return reason
    if path.is_symlink() and not path.exists():
        return "link that leads nowhere"
    if not path.is_file():
        return "not a regular file"
    if path.suffix.lower() in FILM_SUFFIXES or sniff_file(path) in FILM_KINDS:
        return ""
    return "file that is no film"


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the parts of a data set lie.

    `kind` is "splits" (train/val/test × classes) or "classes" (class folders only). `splits` maps the split's name
    to its folder ("" for plain class folders); `copies` are nested copies of the archive, to be left out; `outside`
    are folders beside the data set that was found below the folder that was given.
    """

    kind: str
    root: Path
    splits: dict[str, Path]
    copies: tuple[Path, ...] = ()
    outside: tuple[Path, ...] = ()


def find_layout(data: Path) -> Layout:
    """Find the folder that holds the splits or classes, looking at most three levels down.

    Archives are often unpacked into a folder of their own name, with a second copy inside: the shallowest folder with
    splits is used.

    Raises:
        DataError: no such folder, or two equally deep data sets.
    """
    if not data.is_dir():
        raise DataError(f"There is no folder of films at {data}.", "Give a folder, or a CSV or Parquet table.")
    found: list[Path] = []
    queue: deque[tuple[Path, int]] = deque([(data, 0)])
    depth_found = _DEEPEST_ROOT
    while queue:
        folder, depth = queue.popleft()
        if depth > depth_found:
            continue
        if "train" in _split_folders(folder):
            found.append(folder)
            depth_found = depth
        elif depth < _DEEPEST_ROOT:
            queue.extend((child, depth + 1) for child in _children(folder))
    if len(found) > 1:
        raise DataError(
            f"{data} holds {len(found)} data sets with a train folder: {', '.join(map(str, found[:3]))}.",
            "Give the folder of one of them.",
        )
    if not found:
        return Layout("classes", data, {"": data})
    root = found[0]
    copies = tuple(child for child in _children(root) if child.name.lower() not in SPLIT_NAMES and _holds_splits(child))
    return Layout("splits", root, _split_folders(root), copies, _beside(data, root))


def _beside(data: Path, root: Path) -> tuple[Path, ...]:
    """Folders on the way from `data` to `root` that do not lead there."""
    way = {root, *root.parents}
    found: list[Path] = []
    level = data
    while level != root:
        children = _children(level)
        found += [child for child in children if child not in way]
        level = next(child for child in children if child in way)
    return tuple(found)


def _holds_splits(folder: Path) -> bool:
    return any("train" in _split_folders(candidate) for candidate in (folder, *_children(folder)))


def _split_folders(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for child in _children(folder, linked=True):
        split = SPLIT_NAMES.get(child.name.lower())
        if split is None:
            continue
        if split in found:
            raise DataError(f"{found[split]} and {child} both claim to be the {split} split.", "Remove one of them.")
        found[split] = child
    return found


def _children(folder: Path, *, linked: bool = False) -> list[Path]:
    """The folders in `folder`; those behind links only where `linked`.

    Links are not followed while looking for the root: a link to a parent would be found again and again.
    """
    try:
        children = sorted(folder.iterdir())
    except OSError:
        return []
    return [
        c for c in children if c.is_dir() and (linked or not c.is_symlink()) and c.name.lower() not in _STRAY_FOLDERS
    ]
