"""Where films may lie: folders of this machine, NFS, or object storage by URI (s3://, gs://, abfs://, hdfs://, …).

pyarrow's own file systems are used where it has one, fsspec for other schemes. A URI travels as a `Path`, which folds
its two slashes into one; `location` unfolds them. Credentials come from the environment, never from a URI, because
URIs stand in the table of results. A read that fails for a passing reason is tried again.
"""

from __future__ import annotations

import errno
import functools
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from cxray import extras
from cxray.config import InputCard
from cxray.data.decode import MAXIMUM_FILE_BYTES, decode_bytes
from cxray.data.folders import FILM_SUFFIXES, FilmFile, reason_in_name
from cxray.data.prepare import prepare
from cxray.errors import DataError, UnreadableImage, UsageError
from cxray.rundir import write_bytes
from cxray.runtime.predict import ReadyFilm, read_film

T = TypeVar("T")
_URI = re.compile(r"[a-z][a-z0-9+.-]+://?[^/]", re.IGNORECASE)
# Waits before another try, in seconds: an NFS server that fails over, a throttled bucket.
WAITS = (0.5, 3.0)
_PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.ECONNRESET, errno.EHOSTDOWN}


def is_uri(text: str) -> bool:
    """Whether `text` (or a `Path` made of it) is a URI such as s3://bucket/film.png; "file:" and paths are not."""
    return bool(_URI.match(text))


def as_input(text: str) -> str:
    """An input as the user typed it, checked; file:///folder becomes /folder.

    Raises:
        UsageError: a URI that carries a password.
    """
    if text.lower().startswith("file:"):
        return unquote(urlsplit(text).path)
    if is_uri(text) and ("@" in text and ":" in urlsplit(text).netloc.partition("@")[0]):
        raise UsageError(
            "The URI carries a password, which would stand in every table of results.",
            "Take it out and give it by the environment (for S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY).",
        )
    return text


def location(path: Path) -> str:
    """The text that finds `path` again: the path, or the URI with both slashes."""
    text = str(path)
    if not is_uri(text):
        return text
    scheme, _, rest = text.partition(":")
    return f"{scheme}://{rest.lstrip('/')}"


def read_located(path: Path, card: InputCard) -> ReadyFilm:
    """Read and prepare one film from wherever it lies.

    Raises:
        UnreadableImage: as `read_film`, or the storage does not give it.
    """
    if is_uri(str(path)):
        return _read_remote(location(path), card)
    return _patiently(lambda: read_film(path, card))


def list_films(uri: str, passed_over: Counter[str]) -> Iterator[FilmFile]:
    """Every film below a URI, or the one film that it names, in sorted order; listed one folder at a time.

    Without opening them, a film is known by its ending, or by having none or a number (DICOM exports).

    Raises:
        DataError: there is nothing, or the storage does not answer.
    """
    fs, inner = _resolve(uri)
    with _storage_trouble(uri):
        info = fs.get_file_info(inner)
    if info.is_file:
        yield FilmFile(Path(uri), tuple(Path(uri).parts[-3:-1]))
        return
    found = False
    for film in _walk(fs, inner, uri.rstrip("/"), (), passed_over):
        found = True
        yield film
    if not found and info.type.name == "NotFound":
        raise DataError(f"There is nothing at {uri}.", "Check the URI.")


def copy_table(uri: str, folder: Path) -> Path:
    """Bring a table from a URI into `folder`, so that it can be read in blocks.

    Raises:
        DataError: it is not there, or the storage does not answer.
    """
    copy = folder / f"input-{Path(uri).name}"
    with _storage_trouble(uri):
        write_bytes(copy, _fetch(uri))
    return copy


def _read_remote(uri: str, card: InputCard) -> ReadyFilm:
    try:
        content = _fetch(uri)
    except OSError as error:
        raise UnreadableImage(f"{uri} cannot be read: {_short(error)}.") from error
    image = decode_bytes(content, name=uri, at_least=max(card.height, card.width))
    return ReadyFilm(prepare(image, card, name=uri), image.facts)


def _fetch(uri: str) -> bytes:
    fs, inner = _resolve(uri)

    def read() -> bytes:
        with fs.open_input_file(inner) as stream:
            if stream.size() > MAXIMUM_FILE_BYTES:
                raise UnreadableImage(f"{uri} is larger than {MAXIMUM_FILE_BYTES >> 20} MiB.")
            return bytes(stream.read())

    return _patiently(read)


def _patiently(read: Callable[[], T]) -> T:
    """`read`, again after a wait when it failed for a passing reason."""
    for wait in WAITS:
        try:
            return read()
        except UnreadableImage as error:
            if not (isinstance(error.__cause__, OSError) and error.__cause__.errno in _PASSING):
                raise
        except (FileNotFoundError, PermissionError):
            raise
        except OSError:
            pass
        time.sleep(wait)
    return read()


def _resolve(uri: str) -> tuple[Any, str]:
    """The file system of a URI and its path there."""
    scheme, _, rest = uri.partition("://")
    host, _, key = rest.partition("/")
    with _storage_trouble(uri):
        fs, base = _filesystem(f"{scheme}://{host}")
    return fs, f"{base.rstrip('/')}/{key}"


@functools.cache
def _filesystem(root: str) -> tuple[Any, str]:
    from pyarrow import fs

    try:
        found: tuple[Any, str] = fs.FileSystem.from_uri(root)
        return found
    except ValueError:  # a scheme that pyarrow does not know, or a root without a path
        fsspec = extras.require("fsspec", "cluster", f"Reading {root}")
        try:
            other, base = fsspec.core.url_to_fs(root)
        except ImportError as error:
            raise DataError(f"Reading {root} needs a further library: {error}.", "Install it on every node.") from error
        except ValueError as error:
            raise DataError(f"{root} is of no known kind of storage: {error}.", "Check the URI.") from error
        return fs.PyFileSystem(fs.FSSpecHandler(other)), str(base)


def _walk(fs: Any, folder: str, uri: str, parts: tuple[str, ...], passed_over: Counter[str]) -> Iterator[FilmFile]:
    from pyarrow.fs import FileSelector

    with _storage_trouble(uri):
        entries = sorted(fs.get_file_info(FileSelector(folder, allow_not_found=True)), key=lambda entry: entry.path)
    for entry in entries:
        name = entry.base_name
        if not entry.is_file:
            if name.startswith("."):
                passed_over[f"folder {name}"] += 1
            else:
                yield from _walk(fs, entry.path, f"{uri}/{name}", (*parts, name), passed_over)
            continue
        reason = reason_in_name(name) or ("" if _looks_like_a_film(name) else "file that is no film")
        if reason:
            passed_over[reason] += 1
        else:
            yield FilmFile(Path(f"{uri}/{name}"), parts)


def _looks_like_a_film(name: str) -> bool:
    suffix = Path(name).suffix.lower()
    return suffix in FILM_SUFFIXES or not suffix or suffix[1:].isdigit()


class _storage_trouble:  # noqa: N801 - reads as the context that it is
    """Turns what a storage raises into a sentence."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError | NotImplementedError):
            raise DataError(
                f"{self._uri} cannot be read: {_short(error)}.",
                "Check the URI, the credentials in the environment, and the network.",
            ) from error


def _short(error: BaseException) -> str:
    text = str(getattr(error, "strerror", None) or error).strip() or type(error).__name__
    return text.splitlines()[0][:300].rstrip(".")
