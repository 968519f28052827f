"""The bundle: the only contract between training and everything after it. No TensorFlow, no pickle.

A folder with `model.onnx` (input films float32 (N, height, width, 1), 0–1; outputs logits, features, feature_map),
`bundle.json` (everything a user of the graph must know) and `golden.png` with the scores it must get. Every load
checks the hashes; every predictor checks the golden scores on the engine that will do the work. The golden film is
synthetic, so that no patient's film travels with a model. `model.keras`, when present, is the same network for
export to other formats.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.config import InputCard
from cxray.errors import BundleError, UsageError
from cxray.evaluate import calibration
from cxray.evaluate.thresholds import Threshold
from cxray.rundir import file_sha256, write_json

SCHEMA = 1
FACTS, GRAPH, GOLDEN, KERAS = "bundle.json", "model.onnx", "golden.png", "model.keras"
# What the input gate knows of the training films, and the features of the validation films.
GATE, REFERENCE = "gate.npz", "reference.npz"
OUTPUTS = ("logits", "features", "feature_map")
# Golden scores may differ by this much between engines and machines (float32, other kernel order).
GOLDEN_TOLERANCE = 1e-4
INTENDED_USE = (
    "Research use only. Not a medical device; not for diagnosis. Judged only on films like those it was trained on."
)


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A loaded bundle.

    `task` is "classes" (softmax over `classes`) or "findings" (a sigmoid each). `positive` is the class whose score is
    thresholded. `thresholds` maps a class or finding to its frozen operating point. `facts` is the whole of
    `bundle.json`.
    """

    folder: Path
    task: str
    classes: tuple[str, ...]
    positive: str
    card: InputCard
    thresholds: Mapping[str, Threshold]
    facts: Mapping[str, Any]

    @property
    def graph(self) -> Path:
        """The ONNX file."""
        return self.folder / GRAPH

    @property
    def identifier(self) -> str:
        """The first twelve hexadecimal digits of the graph's SHA-256: how predictions name their model."""
        return str(self.facts["files"][GRAPH])[:12]

    @property
    def golden_scores(self) -> npt.NDArray[np.float64]:
        """Probabilities (K,) that the golden film must get."""
        return np.asarray(self.facts["golden"]["scores"], dtype=np.float64)

    def probabilities(self, logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Logits (N, K) to probabilities (N, K): softmax over classes, or a sigmoid for each finding."""
        return to_probabilities(logits, self.task)

    def decide(self, scores: npt.NDArray[np.float64]) -> list[str]:
        """The decision for each row of scores (N, K).

        Classes: `positive` when its score reaches the threshold, else the most probable of the others; without a
        threshold the most probable of all.
        Findings: those that reach their thresholds, joined by "|". "" where there is no score.
        """
        decide = self._decide_classes if self.task == "classes" else self._decide_findings
        return ["" if np.isnan(row).any() else decide(row) for row in scores]

    def _decide_classes(self, row: npt.NDArray[np.float64]) -> str:
        if self.positive not in self.thresholds:
            return self.classes[int(np.argmax(row))]
        index = self.classes.index(self.positive)
        if row[index] >= self.thresholds[self.positive].value:
            return self.positive
        others = [k for k in range(len(self.classes)) if k != index]
        return self.classes[max(others, key=lambda k: row[k])]

    def _decide_findings(self, row: npt.NDArray[np.float64]) -> str:
        found = [
            name
            for k, name in enumerate(self.classes)
            if name in self.thresholds and row[k] >= self.thresholds[name].value
        ]
        return "|".join(found)


def to_probabilities(logits: npt.NDArray[Any], task: str) -> npt.NDArray[np.float64]:
    """Logits (N, K) to probabilities (N, K) in float64; `task` is "classes" or "findings"."""
    return calibration.softmax(logits) if task == "classes" else calibration.sigmoid(logits)


def save_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Close a bundle: hash the files that lie in `folder` and write `bundle.json` as the last one."""
    present = [name for name in (GRAPH, GOLDEN, KERAS, GATE, REFERENCE) if (folder / name).is_file()]
    hashes = {name: file_sha256(folder / name) for name in present}
    write_json(folder / FACTS, {"schema": SCHEMA, **facts, "files": hashes})


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle and check that its files are whole and its own.

    Raises:
        UsageError: there is no bundle at `folder`.
        BundleError: a file is missing or changed, the description is damaged, or it was made by a newer version.
    """
    folder = _find(folder)
    try:
        facts = json.loads((folder / FACTS).read_text("utf-8"))
        if facts["schema"] > SCHEMA:
            raise BundleError(
                f"{folder} was made by a newer cxray (bundle schema {facts['schema']}, this one reads {SCHEMA}).",
                "Upgrade cxray.",
            )
        _check_files(folder, facts["files"])
        if facts["input"]["version"] != InputCard.version:
            raise BundleError(
                f"{folder} prepares films by version {facts['input']['version']} of the input card, "
                f"this cxray by version {InputCard.version}.",
                "Use the cxray that made the bundle, or train again.",
            )
        return Bundle(
            folder=folder,
            task=facts["task"],
            classes=tuple(facts["classes"]),
            positive=facts["positive"],
            card=_card(facts["input"]),
            thresholds={name: Threshold.from_dict(value) for name, value in facts["thresholds"].items()},
            facts=facts,
        )
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise BundleError(
            f"{folder / FACTS} is damaged: {type(error).__name__} {error}.", "Copy the bundle again, or train anew."
        ) from error


def _card(stored: Mapping[str, Any]) -> InputCard:
    # Bundles older than `intensity` were made from films as they are; all else must be there.
    names = [field.name for field in dataclasses.fields(InputCard) if field.name != "intensity" or field.name in stored]
    return InputCard(**{name: stored[name] for name in names})


def _find(folder: Path) -> Path:
    # A run folder is what people have at hand; its bundle is what they mean.
    for candidate in (folder, folder / "bundle"):
        if (candidate / FACTS).is_file():
            return candidate
    raise UsageError(
        f"There is no bundle at {folder}: no {FACTS} inside.",
        "Give the `bundle` folder of a finished run, for example runs/default/bundle.",
    )


def _check_files(folder: Path, hashes: Mapping[str, str]) -> None:
    required: Sequence[str] = (GRAPH, GOLDEN)
    for name in {*required, *hashes}:
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise BundleError(f"The bundle {folder} lacks {name}.", "Copy the whole folder again.")
        if file_sha256(path) != hashes.get(name):
            raise BundleError(
                f"{path} is not the file that the bundle was closed with (SHA-256 differs).",
                "Copy the bundle again; do not edit its files.",
            )
