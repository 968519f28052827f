"""A hold-out that warns: films with the look of the other class, taken out of train before anything is learned.

    python benchmarks/look_holdout.py DATA --external FILMS --out /tmp/looks [--only NAME ...]

Where ill and healthy people met different machines, a network may read the look of a film, and validation films drawn
at random reward it. So the look of every film in DATA/train is described by mean and deviation of the first feature
maps of an untouched MobileNet (blocks 1, 3 and 5, before anything like a lung is seen), and its 50 nearest films of
other patients are asked for their label. The 200 healthy films with the most ill neighbours, and all films of their
patients, are trained on by nobody (copies under other numbers apart) and judged at the end beside the ill validation
films: healthy children who look ill. Likewise the films of another hospital. The official test is not read.

Each variant is a whole `cxray train` of recipe `default` at 112 pixels and four epochs (`--side`, `--epochs`).
Appended to `results/look_holdout.csv`; `held_out_*` are of the held-out healthy films, `hardest_*` of those of them
most of whose neighbours are ill, all against the ill validation films.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from cxray.config import InputCard
from cxray.data.cache import decode_all
from cxray.data.intake import read_dataset
from cxray.data.prepare import as_model_input
from cxray.evaluate.ranking import auroc
from cxray.model.mobilenet import GraphParts, add_backbone, channels_of
from cxray.model.probe_graph import write_model
from cxray.model.weights import load_imagenet
from cxray.records import ImageRecord, Predictions
from levers import cxray
from machine import append_row, facts

RESULTS = Path(__file__).parent / "results" / "look_holdout.csv"
BLOCKS = (1, 3, 5)
NEIGHBOURS, ASKED, HELD_OUT = 50, 120, 200
DIRECTIONS = 30
BORROWED = ("augment.grey_exchange_fraction=1", "augment.grain_exchange_fraction=1")
TAKEN_OUT = "model.look_directions=5"
VIEWS = "model.stretch_average=0.16"
VARIANTS: dict[str, tuple[str, ...]] = {
    "as it is": (),
    "another seed": ("train.seed=1",),
    "never stretched": ("augment.aspect_fraction=0",),
    "smaller films first": ("train.small_epochs=2",),
    "three views": (VIEWS,),
    "both borrowed, a fifth pre-trained, three views": (*BORROWED, "train.pretrained_share=0.2", VIEWS),
    "both borrowed, a fifth pre-trained, look taken out": (*BORROWED, "train.pretrained_share=0.2", TAKEN_OUT),
    "both borrowed, a fifth pre-trained, look taken out, another seed": (
        *BORROWED,
        "train.pretrained_share=0.2",
        TAKEN_OUT,
        "train.seed=1",
    ),
    "borders blackened": ("augment.border_fraction=0.15",),
    "borders exchanged": ("augment.border_exchange_fraction=0.25",),
    "equalised": ("input.intensity=equalise",),
    "grey values borrowed": BORROWED[:1],
    "grain borrowed": BORROWED[1:],
    "both borrowed": BORROWED,
    "both borrowed, another seed": (*BORROWED, "train.seed=1"),
    "a fifth pre-trained": ("train.pretrained_share=0.2",),
    "both borrowed, a fifth pre-trained": (*BORROWED, "train.pretrained_share=0.2"),
    "both borrowed, a fifth pre-trained, another seed": (*BORROWED, "train.pretrained_share=0.2", "train.seed=1"),
    "both borrowed, two fifths pre-trained": (*BORROWED, "train.pretrained_share=0.4"),
}
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def look_graph(path: Path, card: InputCard) -> list[str]:
    """Write the graph from films to mean and variance of its first feature maps; the names of its outputs."""
    weights, parts = load_imagenet("mobilenet_0.75"), GraphParts()
    outputs: dict[str, list[Any]] = {}
    for block, feature_map in zip(BLOCKS, add_backbone(parts, "films", weights, BLOCKS), strict=True):
        mean = parts.add("GlobalAveragePool", [feature_map])
        apart = parts.add("Sub", [feature_map, mean])
        variance = parts.add("GlobalAveragePool", [parts.add("Mul", [apart, apart])])
        for name, pooled in (("mean", mean), ("variance", variance)):
            parts.add("Flatten", [pooled], output=f"{name}_{block}", axis=1)
            outputs[f"{name}_{block}"] = ["N", channels_of(weights, block)]
    write_model(path, parts, card, outputs)
    return list(outputs)


def looks(records: list[ImageRecord], folder: Path) -> Floats:
    """The look of each film along its main directions, float64 (n, 30)."""
    import onnxruntime

    card = InputCard()
    names = look_graph(folder / "look.onnx", card)
    session = onnxruntime.InferenceSession(str(folder / "look.onnx"))
    films = [film for film in decode_all(records, card) if not isinstance(film, str)]
    if len(films) != len(records):
        raise SystemExit(f"{len(records) - len(films)} films could not be read; `cxray audit` names them.")
    rows = []
    for start in range(0, len(films), 16):
        found = session.run(names, {"films": as_model_input(np.stack(films[start : start + 16]))})
        rows.append(
            np.concatenate([np.sqrt(a) if "var" in name else a for name, a in zip(names, found, strict=True)], 1)
        )
    look = np.concatenate(rows).astype(np.float64)
    spread = look.std(axis=0)
    known = spread > 1e-6
    standardised = (look - look.mean(axis=0))[:, known] / spread[known]
    return np.asarray(PCA(DIRECTIONS, random_state=0).fit_transform(standardised))


def ill_neighbours(look: Floats, is_ill: Flags, patient: npt.NDArray[Any]) -> Floats:
    """The share of ill films among the nearest films of other patients, (n,)."""
    order = NearestNeighbors(n_neighbors=ASKED).fit(look).kneighbors(look, return_distance=False)
    shares = []
    for row, nearest in enumerate(order):
        others = [near for near in nearest if patient[near] != patient[row]][:NEIGHBOURS]
        shares.append(is_ill[others].mean())
    return np.array(shares)


def held_out_patients(shares: Floats, is_ill: Flags, patient: npt.NDArray[Any]) -> set[str]:
    """Patients of the healthy films that look most ill, until 200 healthy films are taken."""
    by_patient: dict[str, list[float]] = {}
    for name, share in zip(patient[~is_ill], shares[~is_ill], strict=True):
        by_patient.setdefault(name, []).append(share)
    chosen: set[str] = set()
    films = 0
    for name in sorted(by_patient, key=lambda name: (-np.mean(by_patient[name]), name)):
        if films >= HELD_OUT:
            break
        chosen.add(name)
        films += len(by_patient[name])
    return chosen


def write_table(data: Path, folder: Path, positive: str) -> tuple[Path, dict[str, float]]:
    """The training films as a table that calls the held-out ones test; and the share of ill neighbours by path."""
    records = [record for record in read_dataset(data).records if record.split == "train"]
    is_ill = np.array([record.label == positive for record in records])
    patient = np.array([record.patient for record in records])
    shares = ill_neighbours(looks(records, folder), is_ill, patient)
    chosen = held_out_patients(shares, is_ill, patient)
    table = folder / "films.csv"
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "patient", "split"])
        for record in records:
            split = "test" if record.patient in chosen else "train"
            writer.writerow([record.path.resolve(), record.label, record.patient, split])
    return table, dict(zip([str(record.path.resolve()) for record in records], shares.tolist(), strict=True))


def measured(run: Path, shares: dict[str, float], positive: str) -> dict[str, Any]:
    """What validation promises, and what becomes of it on healthy films that look ill."""
    validation = Predictions.read(run / "predictions" / "validation.csv")
    column = validation.classes.index(positive)
    ill = np.asarray(validation.label == positive)
    scores = validation.scores[:, column]
    held = Predictions.read(run.with_suffix(".csv"))
    healthy = np.asarray(held.label != positive)
    score, threshold = held.scores[healthy, column], float(validation.metadata["threshold"][0])
    share = np.array([shares[str(Path(path).resolve())] for path in held.path[healthy]])
    row: dict[str, Any] = {
        "validation_auroc": round(auroc(scores, ill), 4),
        "validation_specificity": round(float((scores[~ill] < threshold).mean()), 3),
    }
    for name, chosen in (("held_out", share >= 0), ("hardest", share > 0.5)):
        truth = np.r_[np.zeros(chosen.sum(), bool), np.ones(ill.sum(), bool)]
        row |= {
            f"{name}_films": int(chosen.sum()),
            f"{name}_auroc": round(auroc(np.r_[score[chosen], scores[ill]], truth), 4),
            f"{name}_specificity": round(float((score[chosen] < threshold).mean()), 3),
        }
    for stress in json.loads((run / "run.json").read_text("utf-8"))["stress"]:
        for word in ("taller", "border"):
            if word in stress["treatment"]:
                row[f"{word}_specificity"] = round(stress["specificity"], 3)
    return row


def external_auroc(run: Path, films: Path, positive: str) -> float:
    """AUROC on films of another hospital."""
    out = run.with_name(f"{run.name}-external.csv")
    if not out.exists():
        cxray("predict", run / "bundle", films, "--out", out)
    table = Predictions.read(out)
    return round(auroc(table.scores[:, table.classes.index(positive)], np.asarray(table.label == positive)), 3)


def main() -> None:
    """Train, judge and store the variants asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--external", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--positive", default="PNEUMONIA")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--side", type=int, default=112)
    parser.add_argument("--epochs", type=int, default=4)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    table, shares = write_table(given.data, given.out, given.positive)
    common = [f"--set=input.{side}={given.side}" for side in ("height", "width")]
    common += [f"--set=train.epochs={given.epochs}", "--accept=duplicate-across-splits"]
    for name in given.only:
        run = given.out / f"{name.replace(' ', '-').replace(',', '')}-{given.side}-{given.epochs}"
        if not (run / "manifest.json").exists():
            sets = [f"--set={change}" for change in VARIANTS[name]]
            cxray("train", table, "--out", run, "--recipe", "default", *common, *sets, "--overwrite")
        if not run.with_suffix(".csv").exists():
            cxray("predict", run / "bundle", table, "--split", "test", "--out", run.with_suffix(".csv"))
        row = {
            "variant": name,
            "changes": " ".join(VARIANTS[name]),
            "side": given.side,
            "epochs": given.epochs,
            **measured(run, shares, given.positive),
            "external_auroc": external_auroc(run, given.external, given.positive),
        }
        append_row(RESULTS, {**row, **facts()})
        print(row, flush=True)


if __name__ == "__main__":
    main()
