"""What the training seed decides: every member of a run of several networks by itself, and all of them together.

    python benchmarks/accuracy_seeds.py runs/best [--external FILMS] [--film-alone]

The members (`train.members`) share one division of the films and one set of validation patients, so what differs is the
seed of order, augmentation and dropout. A member's score is its share of the joined head applied to its share of the
features; each gets a threshold of its own by the run's policy on validation patients, and is judged on the test films
of `splits.csv`; with `--external`, ranked on labelled films of another hospital too. A run that averages over views of
a film is judged as it is, or with `--film-alone` as if it had no other view. It opens the official test films: log the
decision in docs/experiments.md before running it. One row a member, and one for the joined network, appended to
`results/accuracy_seeds.csv`.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.bundle import GRAPH, KERAS, load_bundle
from cxray.data.cache import prepare_all
from cxray.data.intake import read_dataset, read_inputs
from cxray.data.prepare import as_model_input
from cxray.evaluate.ranking import auroc
from cxray.evaluate.seeds import seed_spread
from cxray.evaluate.thresholds import choose
from cxray.explain.head import read_head
from cxray.model.history import read_history
from cxray.runtime.predict import Predictor
from machine import append_row, facts

RESULTS = Path(__file__).parent / "results" / "accuracy_seeds.csv"
Floats = npt.NDArray[np.float64]


def features_of(bundle: Path, films: list[Any]) -> Floats:
    """Pooled features (films, F), every member's side by side."""
    answers = list(Predictor.for_streams(bundle).stream(films, keep_features=True))
    missing = [str(answer.record.path) for answer in answers if answer.features is None]
    if missing:
        raise SystemExit(f"{len(missing)} films could not be read, the first is {missing[0]}")
    return np.stack([answer.features for answer in answers]).astype(np.float64)


def features_of_the_film_alone(bundle: Path, films: list[Any]) -> Floats:
    """The same for the film without its other views, from the network that all views go through."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras

    model = keras.saving.load_model(bundle / KERAS, compile=False)
    view = model.get_layer("look")  # what every view of a film goes through
    pooled = keras.Model(view.input, keras.layers.GlobalAveragePooling2D()(view.output))
    ready = prepare_all(films, load_bundle(bundle).card)
    if ready.errors:
        raise SystemExit(f"{len(ready.errors)} films could not be read; `cxray audit` names them.")
    given = as_model_input(ready.take(np.arange(len(films))))
    return np.asarray(pooled.predict(given, batch_size=32, verbose=0), dtype=np.float64)


def log_odds(features: Floats, weights: Floats, members: int) -> Floats:
    """Log-odds (members + 1, films) of the second class against the first: each member's, then their mean."""
    direction = weights[:, 1] - weights[:, 0]
    parts = (features * direction).reshape(len(features), members, -1).sum(axis=2).T * members
    return np.concatenate([parts, parts.mean(axis=0, keepdims=True)])


def judged(test: Floats, truth: npt.NDArray[np.bool_], threshold: float) -> dict[str, float]:
    """Measures on the test at a frozen threshold of the log-odds."""
    called = test >= threshold
    return {
        "test_auroc": round(auroc(test, truth), 4),
        "test_accuracy": round(float((called == truth).mean()), 4),
        "test_sensitivity": round(float(called[truth].mean()), 4),
        "test_specificity": round(float((~called[~truth]).mean()), 4),
    }


def main() -> None:
    """Judge each member and all together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--external", type=Path)
    parser.add_argument("--film-alone", action="store_true")
    given = parser.parse_args()
    run = given.run
    bundle = load_bundle(run / "bundle")
    members = int(bundle.facts["recipe"]["train"]["members"])
    records = read_inputs([run / "splits.csv"], bundle.classes).records
    validation = [record for record in records if record.split == "validation"]
    test = [record for record in records if record.split == "test"]
    weights = read_head(bundle.folder / GRAPH).weights
    features = features_of_the_film_alone if given.film_alone else features_of
    scores = [log_odds(features(bundle.folder, films), weights, members) for films in (validation, test)]
    truths = [np.array([r.label == bundle.positive for r in films]) for films in (validation, test)]
    elsewhere = read_dataset(given.external).records if given.external else []
    ill_elsewhere = np.array([record.label == bundle.positive for record in elsewhere], dtype=bool)
    foreign = log_odds(features(bundle.folder, elsewhere), weights, members) if elsewhere else None
    policy = bundle.facts["recipe"]["decision"]["policy"]
    rows = []
    for number, (known, sealed) in enumerate(zip(*scores, strict=True)):
        # The biases are left out: they move a member's scores and its threshold alike.
        point = choose(
            policy, 1 / (1 + np.exp(-known)), truths[0], "validation", "", np.array([r.patient for r in validation])
        )
        one = number < members
        minutes = (
            sum(row.seconds for row in read_history(run / "members" / str(number + 1) / "history.csv")) / 60
            if one
            else 0
        )
        rows.append(
            {
                "recipe": bundle.facts["name"] + (", the film alone" if given.film_alone else ""),
                "network": f"member {number + 1}" if one else f"mean of {members}",
                "minutes": round(minutes, 1) if one else round(sum(row["minutes"] for row in rows), 1),
                "validation_auroc": round(auroc(known, truths[0]), 5),
                "external_auroc": "" if foreign is None else round(auroc(foreign[number], ill_elsewhere), 4),
                **judged(sealed, truths[1], float(np.log(point.value / (1 - point.value)))),
            }
        )
    for row in rows:
        append_row(RESULTS, {**row, **facts()})
        print(json.dumps(row))
    for measure in ("test_auroc", "test_accuracy", "test_sensitivity", "test_specificity"):
        values = np.array([row[measure] for row in rows[:members]])
        found = seed_spread(values)
        print(
            f"{measure}: mean {values.mean():.4f}, SD {values.std(ddof=1):.4f}, "
            f"a new seed {found.low:.3f}-{found.high:.3f}"
        )


if __name__ == "__main__":
    main()
