"""`cxray deidentify`: a folder of DICOM films in, films that may leave the hospital out."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cxray import progress, rundir
from cxray.data.cache import WORKERS
from cxray.data.dicom import library
from cxray.data.dicom.deidentify import DeidentifiedFilm, Wishes, deidentify_film
from cxray.data.dicom.patients import dicom_films
from cxray.data.dicom.pseudonym import Pseudonyms, key_path, load_pseudonyms
from cxray.data.folders import walk_films
from cxray.errors import DataError, RefusedFilm, UnreadableImage, UsageError
from cxray.tables import write_table

TABLE = "films.csv"
_DATES = ("shift", "remove")


@dataclasses.dataclass(frozen=True)
class Released:
    """What was written to `out`: films, patients, and how many were refused or passed over, by reason.

    `refused` maps a reason code, or "unreadable", to the films' own paths: for the screen, never for the folder.
    """

    out: Path
    films: int
    patients: int
    refused: Mapping[str, tuple[Path, ...]]
    passed_over: Mapping[str, int]
    facts: Mapping[str, int]


def deidentify(
    inputs: Sequence[Path],
    out: Path,
    *,
    key: Path | None = None,
    wishes: Wishes | None = None,
    keep_folders: bool = False,
    overwrite: bool = False,
) -> Released:
    """De-identify every DICOM film of `inputs` (files or folders) into `out`.

    Films are written as `<patient code>/<film code>.dcm`, with `keep_folders` below the folders they came from (whose
    names then must not identify anybody); `films.csv` lists them; the manifest is last. Source paths are not kept.

    Raises:
        UsageError: `out` holds other work, the sources or the key; the key is no key; an unknown wish for dates.
        DataError: no DICOM film was found.
        MissingExtra: the extra `dicom` is not installed.
        OutputError: the results cannot be written.
    """
    chosen = wishes or Wishes()
    if chosen.dates not in _DATES:
        raise UsageError(f"dates must be one of {', '.join(_DATES)}, got {chosen.dates!r}.")
    library.load()
    secret = (key or key_path()).resolve()
    rundir.check_folder(out, overwrite=overwrite, reads=[*inputs, secret])
    passed_over: Counter[str] = Counter()
    films = _find(inputs, passed_over)
    pseudonyms = load_pseudonyms(secret)
    rundir.prepare_folder(out, overwrite=overwrite)
    released = _write_all(films, out, pseudonyms, chosen, keep_folders=keep_folders)
    return dataclasses.replace(released, passed_over={k: v for k, v in sorted(passed_over.items()) if v})


def _find(inputs: Sequence[Path], passed_over: Counter[str]) -> list[tuple[Path, Path]]:
    """Pairs (film, folder it lies in below the input)."""
    found: list[tuple[Path, Path]] = []
    for path in inputs:
        if path.is_file():
            found.append((path, Path()))
        elif path.is_dir():
            found += [(film.path, Path(*film.parts)) for film in walk_films(path, passed_over)]
        else:
            raise DataError(f"There is nothing at {path}.", "Check the path.")
    dicom = set(dicom_films([film for film, _ in found]))
    passed_over["film that is not DICOM"] += len(found) - len(dicom)
    if not dicom:
        raise DataError(f"No DICOM films were found in {', '.join(map(str, inputs))}.", "Check the path.")
    return [pair for pair in found if pair[0] in dicom]


def _write_all(
    films: Sequence[tuple[Path, Path]], out: Path, pseudonyms: Pseudonyms, wishes: Wishes, *, keep_folders: bool
) -> Released:
    rows: dict[str, tuple[str, str, str]] = {}
    refused: dict[str, list[Path]] = {}
    facts: Counter[str] = Counter()

    def write(pair: tuple[Path, Path]) -> tuple[Path, str, DeidentifiedFilm | None, str]:
        path, folder = pair
        try:
            film = _clean(path, pseudonyms, wishes)
        except RefusedFilm as error:
            return path, "", None, error.reason
        except UnreadableImage:
            return path, "", None, "unreadable"
        name = ((folder if keep_folders else Path()) / film.patient / f"{film.film}.dcm").as_posix()
        rundir.write_bytes(out / name, film.content)
        return path, name, dataclasses.replace(film, content=b""), ""

    with ThreadPoolExecutor(WORKERS) as pool:
        for path, name, film, reason in progress.track(pool.map(write, films), total=len(films), what="De-identifying"):
            if film is None:
                refused.setdefault(reason, []).append(path)
            else:
                rows[name] = (film.patient, film.study, "; ".join(film.facts))
                facts.update(film.facts)
    _close(out, rows, pseudonyms, wishes, {reason: len(paths) for reason, paths in refused.items()})
    patients = len({patient for patient, _, _ in rows.values()})
    return Released(out, len(rows), patients, {reason: tuple(paths) for reason, paths in refused.items()}, {}, facts)


def _clean(path: Path, pseudonyms: Pseudonyms, wishes: Wishes) -> DeidentifiedFilm:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnreadableImage(f"{path} cannot be read: {error.strerror}.") from error
    return deidentify_film(content, pseudonyms, wishes, name=str(path))


def _close(
    out: Path,
    rows: Mapping[str, tuple[str, str, str]],
    pseudonyms: Pseudonyms,
    wishes: Wishes,
    refused: Mapping[str, int],
) -> None:
    names = sorted(rows)
    columns = {
        "path": names,
        **{name: [rows[key][k] for key in names] for k, name in enumerate(("patient", "study", "facts"))},
    }
    write_table(out / TABLE, {name: np.array(cells, dtype=object) for name, cells in columns.items()})
    facts = {"key": pseudonyms.fingerprint, "wishes": dataclasses.asdict(wishes), "refused": dict(refused)}
    rundir.write_manifest(out, {"what": "de-identified films", "films": len(rows), **facts})
