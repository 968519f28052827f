"""Contact sheets of synthetic films, to be looked at, and the speed at which they are drawn.

    python benchmarks/phantom_sheet.py --out phantom-sheets [--size 256] [--seed 7] [--difficulty 0.4]

Writes `films.png` (12 normal films above 12 diseased) and `masks.png` (the same diseased films, masks outlined), and
prints films a second on one thread, with two films a patient as in the demo.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from cxray.data.phantom import PhantomFilm, PhantomPlan, draw_film, phantom_patients
from cxray.rundir import atomic_open

COLUMNS = 6
FILMS_PER_CLASS = 12


def outlined(film: PhantomFilm) -> np.ndarray:
    """The film in RGB, uint8 (H, W, 3), with the outline of its mask in orange."""
    picture = np.repeat(film.as_bytes()[:, :, None], 3, axis=2)
    picture[ndimage.binary_dilation(film.mask) & ~film.mask] = (255, 150, 30)
    return picture


def sheet(pictures: list[np.ndarray]) -> Image.Image:
    """Equally large pictures in rows of six."""
    rows = [np.concatenate(pictures[k : k + COLUMNS], axis=1) for k in range(0, len(pictures), COLUMNS)]
    return Image.fromarray(np.concatenate(rows, axis=0))


def films_per_second(plan: PhantomPlan, seed: int) -> float:
    """Films drawn a second over 40 patients, without writing them."""
    started = time.perf_counter()
    count = sum(len(films) for films in phantom_patients(plan, 40, seed=seed))
    return count / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("phantom-sheets"))
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--difficulty", type=float, default=0.4)
    options = parser.parse_args()
    plan = PhantomPlan(size_px=options.size, difficulty=options.difficulty)
    films = [
        draw_film(plan, k, film_index=0, seed=options.seed, is_diseased=k >= FILMS_PER_CLASS)
        for k in range(2 * FILMS_PER_CLASS)
    ]
    sheets = {
        "films.png": sheet([film.as_bytes() for film in films]),
        "masks.png": sheet([outlined(film) for film in films[FILMS_PER_CLASS:]]),
    }
    for name, picture in sheets.items():
        with atomic_open(options.out / name, "wb") as stream:
            picture.save(stream, format="PNG")
    print(f"{options.out}: {', '.join(sheets)}")
    print(f"{films_per_second(plan, options.seed):.0f} films/s at {options.size} px")


if __name__ == "__main__":
    main()
