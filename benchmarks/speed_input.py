"""Does the input starve training? Films a second with the real input beside the same with ready tensors, interleaved.

    python benchmarks/speed_input.py DATA --recipe default

The real input is the cache of prepared films, shuffled and changed at random as the recipe says. The ready tensors are
one batch, repeated. The network is the recipe's own, trained on both in turn. `share` compares the clock, `cpu_share`
the processor time of all threads, which other work on the machine disturbs less. Appended to
`results/speed_input.csv`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

from machine import append_row, facts

RESULTS = Path(__file__).parent / "results" / "speed_input.csv"


def main() -> None:
    """Measure and append a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--films", type=int, default=640)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import numpy as np
    import tensorflow as tf

    from cxray.config import load_recipe
    from cxray.data.cache import prepare_all
    from cxray.data.intake import read_dataset
    from cxray.model.batches import training_batches
    from cxray.model.build import build_network
    from cxray.model.films import LabelledFilms

    recipe = load_recipe(given.recipe)
    records = [r for r in read_dataset(given.data).records if r.split == "train"]
    records = records[:: max(1, len(records) // given.films)][: given.films]
    prepared = prepare_all(records, recipe.input)
    count, size = len(records), recipe.train.batch_size
    targets, weights = np.arange(count) % 2, np.ones(count, np.float32)
    films = LabelledFilms(prepared, np.arange(count), targets, weights, recipe.input)
    model = build_network(recipe.model, recipe.input, 2).model
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-6), loss, jit_compile=False)

    def real(epoch: int) -> tf.data.Dataset:
        return training_batches(films, recipe.augment, batch_size=size, seed=0, epoch=epoch)

    ready = tf.data.Dataset.from_tensors(next(iter(real(0)))).cache().repeat(count // size)
    seconds: dict[str, list[float]] = {"real": [], "ready": []}
    work: dict[str, list[float]] = {"real": [], "ready": []}
    for epoch in range(given.repeats + 1):
        for name, batches in (("real", real(epoch)), ("ready", ready)):
            started, used = time.perf_counter(), time.process_time()
            model.fit(batches, epochs=1, verbose=0)
            if epoch:  # the first pass traces the graph
                seconds[name].append(time.perf_counter() - started)
                work[name].append(time.process_time() - used)
    rates = {name: count / statistics.median(spent) for name, spent in seconds.items()}
    row = {
        "recipe": given.recipe,
        "films": count,
        "real_films_per_s": round(rates["real"], 1),
        "ready_films_per_s": round(rates["ready"], 1),
        "share": round(rates["real"] / rates["ready"], 3),
        "cpu_share": round(statistics.median(work["ready"]) / statistics.median(work["real"]), 3),
        "seconds_all": " ".join(f"{name}: " + " ".join(f"{s:.2f}" for s in spent) for name, spent in seconds.items()),
    }
    append_row(RESULTS, {**row, **facts()})
    print(row)


if __name__ == "__main__":
    main()
