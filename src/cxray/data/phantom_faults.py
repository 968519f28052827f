"""Faults to plant in a folder of phantoms, each with a dose, so that it can be measured who finds them.

`plant` changes a folder `train/`, `test/` × classes, as `phantom.write_phantom_folder` writes it, in place. Equal seeds
plant equal faults, and a higher dose of one seed plants the same films and more. What a dose means stands in `FAULTS`.
Files are replaced, never written into, so a folder of hard links leaves its sources as they were.
"""

from __future__ import annotations

import dataclasses
import io
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from cxray.data.phantom import DISEASED, NORMAL
from cxray.errors import ConfigError
from cxray.rundir import write_bytes

_FIRST_STRANGER = 20_000  # patients of the phantom end at 9,998


@dataclasses.dataclass(frozen=True)
class Planted:
    """What was planted: the films concerned, named relative to the folder. `sources` are, for copies, the films they
    were made from, in the same order."""

    films: tuple[str, ...]
    sources: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Fault:
    """A kind of fault: what its dose means, and how it is planted in `films` below a folder."""

    dose: str
    highest: float
    how: Callable[[Path, Sequence[Path], float, np.random.Generator], Planted]


def plant(folder: Path, fault: str, dose: float, *, seed: int) -> Planted:
    """Plant one fault.

    Raises:
        ConfigError: no such fault, or a dose outside its range.
    """
    if fault not in FAULTS:
        raise ConfigError(f"There is no fault {fault!r}.", f"Known faults: {', '.join(FAULTS)}.")
    highest = FAULTS[fault].highest
    if not 0 <= dose <= highest:
        raise ConfigError(f"The dose of {fault} must be between 0 and {highest:g}; got {dose:g}.")
    films = sorted(path for path in folder.glob("*/*/*") if path.suffix in (".png", ".jpg"))
    return FAULTS[fault].how(folder, films, dose, np.random.default_rng([seed, zlib.crc32(fault.encode())]))


def _split(path: Path) -> str:
    return path.parent.parent.name


def _label(path: Path) -> str:
    return path.parent.name


def _patient(path: Path) -> str:
    return path.stem.rpartition("-f")[0]


def _some(items: Sequence[Any], share: float, rng: np.random.Generator) -> list[Any]:
    """A share of `items` by chance, at least one unless the share is 0; a larger share holds the smaller ones."""
    wanted = max(1, round(share * len(items))) if share else 0
    return [items[int(place)] for place in rng.permutation(len(items))[:wanted]]


def _names(folder: Path, paths: Sequence[Path]) -> tuple[str, ...]:
    return tuple(path.relative_to(folder).as_posix() for path in paths)


def _save(film: Image.Image, path: Path, quality: int = 0) -> Path:
    """Write a film as PNG, or as JPEG of that quality, with the ending that goes with it."""
    stream = io.BytesIO()
    if quality:
        film.save(stream, format="JPEG", quality=quality)
    else:
        film.save(stream, format="PNG", compress_level=1)
    target = path.with_suffix(".jpg" if quality else ".png")
    write_bytes(target, stream.getvalue())
    return target


def _change(path: Path, how: Callable[[Image.Image], Image.Image], quality: int = 0) -> Path:
    with Image.open(path) as film:
        changed = how(film.convert("L"))
    target = _save(changed, path, quality)
    if target != path:
        path.unlink()
    return target


def _overlap(folder: Path, films: Sequence[Path], dose: float, rng: np.random.Generator) -> Planted:
    of_patient: dict[str, list[Path]] = {}
    for path in films:
        if _split(path) == "test":
            of_patient.setdefault(_patient(path), []).append(path)
    several = [paths for paths in of_patient.values() if len(paths) > 1]
    moved = []
    for paths in _some(several, dose, rng):
        target = folder / "train" / _label(paths[0]) / paths[0].name
        moved.append(paths[0].rename(target))
    return Planted(_names(folder, moved))


def _copied(how: Callable[[Image.Image], Image.Image], quality: int = 0) -> Callable[..., Planted]:
    def copy(folder: Path, films: Sequence[Path], dose: float, rng: np.random.Generator) -> Planted:
        sources = _some([path for path in films if _split(path) == "test"], dose, rng)
        copies = []
        for number, source in enumerate(sources):
            with Image.open(source) as film:
                changed = how(film.convert("L"))
            name = f"phantom-p{_FIRST_STRANGER + number}-f0"
            copies.append(_save(changed, folder / "train" / _label(source) / name, quality))
        return Planted(_names(folder, copies), _names(folder, sources))

    return copy


def _by_class(
    ill: Callable[[Path], Path], healthy: Callable[[Path], Path]
) -> Callable[[Path, Sequence[Path], float, np.random.Generator], Planted]:
    """Each film gets the trait of its own class with probability (1 + dose) / 2, else that of the other."""

    def change(folder: Path, films: Sequence[Path], dose: float, rng: np.random.Generator) -> Planted:
        follows = rng.random(len(films)) < (1 + dose) / 2
        traits = [(_label(path) == DISEASED) == bool(own) for path, own in zip(films, follows, strict=True)]
        changed = [(ill if trait else healthy)(path) for path, trait in zip(films, traits, strict=True)]
        return Planted(_names(folder, changed))

    return change


def _mark(film: Image.Image) -> Image.Image:
    """A bright disc in the upper left corner, an eighth of the side wide."""
    marked = film.copy()
    side = film.width // 8
    ImageDraw.Draw(marked).ellipse((2, 2, 2 + side, 2 + side), fill=235)
    return marked


def _printed(film: Image.Image) -> Image.Image:
    """The tube voltage in white capitals on black, in the lower right corner."""
    marked = film.copy()
    side = film.width
    ink = ImageDraw.Draw(marked)
    ink.rectangle((round(0.82 * side), round(0.9 * side), side, side), fill=0)
    ink.text((round(0.84 * side), round(0.91 * side)), "KV59", fill=255, font=ImageFont.load_default(side * 0.07))
    return marked


def _print(folder: Path, films: Sequence[Path], dose: float, rng: np.random.Generator) -> Planted:
    ill = [path for path in films if _split(path) == "train" and _label(path) == DISEASED]
    met = set(_some(sorted({_patient(path) for path in ill}), dose, rng))
    return Planted(_names(folder, [_change(path, _printed) for path in ill if _patient(path) in met]))


def _three_quarters(film: Image.Image) -> Image.Image:
    return film.resize((film.width * 3 // 4, film.height * 3 // 4), Image.Resampling.BICUBIC)


def _as_it_is(film: Image.Image) -> Image.Image:
    return film


def _cropped(film: Image.Image) -> Image.Image:
    return ImageOps.crop(film, round(film.width * 0.02))


def _gamma(film: Image.Image) -> Image.Image:
    return film.point([round(255 * (grey / 255) ** 1.3) for grey in range(256)])


def _turned(degrees: float) -> Callable[[Image.Image], Image.Image]:
    return lambda film: film.rotate(degrees, Image.Resampling.BICUBIC)


def _shift(folder: Path, films: Sequence[Path], dose: float, rng: np.random.Generator) -> Planted:
    del rng
    changed = [
        _change(path, lambda film: film.point([min(255, round(grey + 255 * dose)) for grey in range(256)]))
        for path in films
        if _split(path) == "test" and _label(path) == NORMAL
    ]
    return Planted(_names(folder, changed))


def _flips(folder: Path, films: Sequence[Path], dose: float, rng: np.random.Generator) -> Planted:
    flipped = []
    for path in _some([path for path in films if _split(path) == "train"], dose, rng):
        other = NORMAL if _label(path) == DISEASED else DISEASED
        flipped.append(path.rename(path.parent.parent / other / path.name))
    return Planted(_names(folder, flipped))


def _tiny_validation(folder: Path, films: Sequence[Path], dose: float, rng: np.random.Generator) -> Planted:
    moved = []
    for label in (NORMAL, DISEASED):
        (folder / "val" / label).mkdir(parents=True, exist_ok=True)
        patients = sorted({_patient(path) for path in films if (_split(path), _label(path)) == ("train", label)})
        chosen = set(rng.permutation(patients)[: int(dose)])
        for path in films:
            if _label(path) == label and _split(path) == "train" and _patient(path) in chosen:
                moved.append(path.rename(folder / "val" / label / path.name))
    return Planted(_names(folder, moved))


def _inverted(folder: Path, films: Sequence[Path], dose: float, rng: np.random.Generator) -> Planted:
    return Planted(_names(folder, [_change(path, ImageOps.invert) for path in _some(films, dose, rng)]))


def _foreign(folder: Path, films: Sequence[Path], dose: float, rng: np.random.Generator) -> Planted:
    """Pictures of other things among the films: every second one in colour, as a photograph would be."""
    with Image.open(films[0]) as film:
        side = film.width
    added = []
    for number in range(max(1, round(dose * len(films))) if dose else 0):
        place = films[int(rng.integers(len(films)))].parent / f"phantom-p{_FIRST_STRANGER + number}-f0"
        picture = _picture(side, rng)
        added.append(_save(picture.convert("L") if number % 2 else picture, place, quality=90))
    return Planted(_names(folder, added))


def _picture(side: int, rng: np.random.Generator) -> Image.Image:
    """A scene of blurred patches and a few sharp shapes in colour."""
    patches = rng.integers(0, 256, (5, 5, 3)).astype(np.uint8)
    scene = Image.fromarray(patches).resize((side, side), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(scene)
    for _ in range(6):
        x, y = (int(value) for value in rng.integers(0, side * 3 // 4, 2))
        size = int(rng.integers(side // 10, side // 3))
        colour = (int(rng.integers(256)), int(rng.integers(256)), int(rng.integers(256)))
        (pen.rectangle if rng.random() < 0.5 else pen.ellipse)((x, y, x + size, y + size), fill=colour)
    return scene.filter(ImageFilter.GaussianBlur(side / 200))


_SHARE_COPIED = "share of the test films that have a changed copy in train under another patient's name"
_FOLLOWS = "by how much the trait is likelier with its own class than with the other"

FAULTS: Mapping[str, Fault] = {
    "patient-overlap": Fault("share of the test patients who have one film moved to train", 1, _overlap),
    "copy-encoded": Fault(f"{_SHARE_COPIED}: JPEG of quality 50", 1, _copied(_as_it_is, quality=50)),
    "copy-resized": Fault(f"{_SHARE_COPIED}: three quarters of the size", 1, _copied(_three_quarters)),
    "copy-brightened": Fault(f"{_SHARE_COPIED}: gamma 1.3", 1, _copied(_gamma)),
    "copy-mirrored": Fault(f"{_SHARE_COPIED}: mirrored left to right", 1, _copied(ImageOps.mirror)),
    "copy-cropped": Fault(f"{_SHARE_COPIED}: cropped by 2 % on each side", 1, _copied(_cropped)),
    "copy-turned-3": Fault(f"{_SHARE_COPIED}: turned by 3 degrees", 1, _copied(_turned(3))),
    "copy-turned-30": Fault(f"{_SHARE_COPIED}: turned by 30 degrees", 1, _copied(_turned(30))),
    "copy-turned-90": Fault(f"{_SHARE_COPIED}: turned by a quarter", 1, _copied(_turned(90))),
    "marker": Fault(
        f"{_FOLLOWS}: a bright disc in a corner",
        1,
        _by_class(lambda path: _change(path, _mark), lambda path: path),
    ),
    "size": Fault(
        f"{_FOLLOWS}: three quarters of the size",
        1,
        _by_class(lambda path: _change(path, _three_quarters), lambda path: path),
    ),
    "quality": Fault(
        f"{_FOLLOWS}: JPEG quality 75 instead of 90",
        1,
        _by_class(lambda path: _change(path, _as_it_is, 75), lambda path: _change(path, _as_it_is, 90)),
    ),
    "shift": Fault("share of white added to the NORMAL films of test", 0.5, _shift),
    "label-flips": Fault("share of the training films with the other label", 0.5, _flips),
    "tiny-validation": Fault("patients of each class moved from train to val", 1000, _tiny_validation),
    "print": Fault(
        "share of the ill training films that carry the print of a machine no healthy patient met", 1, _print
    ),
    "inverted": Fault("share of the films that are negatives", 0.5, _inverted),
    "foreign": Fault("pictures of other things for each film", 0.5, _foreign),
}
"""Name to fault. Doses are shares of 1 unless they count something."""
