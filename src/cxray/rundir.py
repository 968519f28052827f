"""All-or-nothing output: a file appears whole under its final name, or not at all.

A file is written to a temporary neighbour, flushed to disk and renamed. A folder of results is complete when its
`manifest.json` exists, because the manifest is written last.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from cxray.errors import OutputError, UsageError

MANIFEST = "manifest.json"
# Laid into every folder of results at once: only a folder that carries it is ever emptied.
MARKER = ".cxray"


@contextlib.contextmanager
def atomic_path(path: Path, suffix: str = "") -> Iterator[Path]:
    """Hand out the name of a temporary neighbour of `path`; rename it to `path` when the block ends without error.

    The name ends in `suffix`, for libraries that choose the format by it.

    Raises:
        OutputError: the folder cannot be created or written, or the disk is full; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=f".part{suffix}", dir=path.parent)
    except OSError as error:
        raise output_error(path, error) from error
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("r+b") as stream:  # Windows refuses to flush a file opened for reading
            os.fsync(stream.fileno())
        temporary.chmod(_FILE_MODE)
        temporary.replace(path)
    except OSError as error:
        # Only trouble with our own file is an output error; an OSError about an input passes through unchanged.
        if error.filename not in (None, name, str(path)):
            raise
        raise output_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_open(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary neighbour of `path` for writing, as `atomic_path`.

    `mode` is "w" (UTF-8 text, newlines kept as written) or "wb".

    Raises:
        OutputError: as `atomic_path`.
    """
    with atomic_path(path) as temporary, _open(temporary, mode) as stream:
        yield stream


def _open(path: Path, mode: str) -> IO[Any]:
    return path.open(mode) if "b" in mode else path.open(mode, encoding="utf-8", newline="")


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with atomic_open(path) as stream:
        stream.write(printable(text))


def printable(text: str) -> str:
    """`text` with anything that is not valid Unicode (odd file names) written as an escape such as \\udce4."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content`, whole or not at all."""
    with atomic_open(path, "wb") as stream:
        stream.write(content)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON (UTF-8, two-space indent, keys as given; NaN and infinity refused)."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes as 64 lower-case hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Close `folder`: list every file with size in bytes and SHA-256, add `facts`, and write it as the last file."""
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST and not _is_hidden(path.relative_to(folder))
    }
    write_json(folder / MANIFEST, {"schema": 1, **facts, "files": files})


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def read_manifest(folder: Path) -> dict[str, Any]:
    """What `write_manifest` wrote into `folder`."""
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
    return manifest


def check_writable(path: Path) -> None:
    """Refuse an output file that could not be written, before any work is spent on it.

    Raises:
        OutputError: its folder cannot be created or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise output_error(path, error) from error


def is_complete(folder: Path) -> bool:
    """Whether the work that fills `folder` was finished."""
    return (folder / MANIFEST).is_file()


def prepare_folder(
    folder: Path, *, overwrite: bool = False, resume: bool | None = None, reads: Iterable[Path] = ()
) -> None:
    """Make `folder` ready to receive results.

    An existing empty folder is taken. One that holds anything is refused, unless `resume` continues it or
    `overwrite` empties it; only folders that carry our marker are ever emptied, and none that holds anything of
    `reads`, which the command still wants to read.

    Raises:
        UsageError: the folder holds other work, or what is to be read.
        OutputError: the folder cannot be created.
    """
    check_folder(folder, overwrite=overwrite, resume=resume, reads=reads)
    try:
        if overwrite and not resume and folder.is_dir() and any(folder.iterdir()):
            _empty_own_folder(folder)
    except OSError as error:
        raise output_error(folder, error) from error
    check_writable(folder / MANIFEST)
    (folder / MARKER).touch()


def check_folder(
    folder: Path, *, overwrite: bool = False, resume: bool | None = None, reads: Iterable[Path] = ()
) -> None:
    """Refuse what `prepare_folder` would refuse because of what lies there, and change nothing.

    `resume` is None where a command cannot continue earlier work, so that nobody is advised to try.

    Raises:
        UsageError: the folder holds other work, or something of `reads`.
        OutputError: it cannot be looked into.
    """
    _keep_what_is_read(folder, reads)
    try:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file, but a folder for results was expected.", "Choose another --out.")
        holds_files = folder.is_dir() and any(folder.iterdir())
        if holds_files and overwrite and not resume:
            _check_own(folder)
        elif holds_files and not resume:
            raise UsageError(f"{folder} already holds files.", _way_out(folder, can_resume=resume is not None))
    except OSError as error:
        raise output_error(folder, error) from error


def _keep_what_is_read(folder: Path, reads: Iterable[Path]) -> None:
    home = folder.resolve()
    for source in reads:
        if source.resolve().is_relative_to(home):
            raise UsageError(f"{source} lies in {folder}, where the results would go.", "Choose another --out.")


def _way_out(folder: Path, *, can_resume: bool) -> str:
    if can_resume and (folder / MARKER).is_file() and _is_unfinished(folder):
        return "An unfinished run lies there: continue it with --resume, or replace it with --overwrite."
    return "Choose another --out, or pass --overwrite to replace our own."


def _is_unfinished(folder: Path) -> bool:
    try:
        return not is_complete(folder) or bool(read_manifest(folder).get("interrupted"))
    except ValueError:  # a damaged manifest; the refusal that asks for this must not fail on it
        return False


def _check_own(folder: Path) -> None:
    if not (folder / MARKER).is_file() or (folder / ".git").exists():
        raise UsageError(
            f"{folder} was not made by cxray, so --overwrite will not empty it.",
            "Choose another --out.",
        )


def _empty_own_folder(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def output_error(path: Path, error: OSError) -> OutputError:
    """The sentence for a result that could not be written to `path`."""
    return OutputError(
        f"Cannot write {path}: {error.strerror or error}.",
        "Free space, check permissions, or choose another --out.",
    )


def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# mkstemp makes files private (0600); results should follow the user's umask as any other file does. Read once, on
# import, because reading it changes it for a moment, for all threads.
_FILE_MODE = 0o666 & ~_read_umask()
