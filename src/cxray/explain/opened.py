"""The seam behind which explained models sit: a bundle of ours, or any ONNX classifier with an input card.

Everything in this room asks a model three things: run prepared films, the log-odds of a class, and, where the graph
allows it, its linear head.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.bundle import GOLDEN, Bundle, to_probabilities
from cxray.config import InputCard
from cxray.data.prepare import as_model_input, prepare_file
from cxray.errors import UsageError
from cxray.explain.head import LinearHead, NoLinearHead, check_pooling, read_head
from cxray.runtime.engine import Engine
from cxray.runtime.predict import Predictor

Films = npt.NDArray[Any]
BATCH = 16


@dataclasses.dataclass(frozen=True, eq=False)
class OpenedModel:
    """A model that can be explained.

    `name` is for people, `identifier` the first twelve hexadecimal digits of the graph's SHA-256. `head` is the linear
    head, or None with the sentence `no_head` that says why class activation is impossible. `bundle` is None for
    models from elsewhere; `adapted` puts their own conventions before another engine of the same graph.
    """

    name: str
    identifier: str
    graph: Path
    card: InputCard
    task: str
    classes: tuple[str, ...]
    positive: str
    engine: Engine
    head: LinearHead | None = None
    no_head: str = ""
    bundle: Bundle | None = None
    adapted: Callable[[Engine], Engine] = dataclasses.field(default=lambda engine: engine)

    def run(self, films: Films) -> dict[str, npt.NDArray[np.float32]]:
        """Prepared films (N, height, width), uint8 or float32 in grey levels 0–255, to the graph's outputs."""
        parts = [self.engine.run(_as_input(films[start : start + BATCH])) for start in range(0, len(films), BATCH)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def logits(self, films: Films) -> npt.NDArray[np.float64]:
        """Prepared films to logits (N, K)."""
        return self.run(films)["logits"].astype(np.float64)

    def log_odds(self, films: Films, class_index: int) -> npt.NDArray[np.float64]:
        """Prepared films to the log-odds (N,) of one class; see `log_odds`."""
        return self.odds_of(self.logits(films), class_index)

    def odds_of(self, logits: npt.NDArray[Any], class_index: int) -> npt.NDArray[np.float64]:
        """Logits (N, K) to the log-odds (N,) of one class; see `log_odds`."""
        return log_odds(logits, self.task, class_index)

    def probabilities(self, logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Logits (N, K) to probabilities (N, K)."""
        return to_probabilities(logits, self.task)

    def threshold(self, class_index: int) -> float:
        """The score at which the class is called: the frozen threshold, else 0.5."""
        points: Mapping[str, Any] = self.bundle.thresholds if self.bundle else {}
        name = self.classes[class_index]
        return float(points[name].value) if name in points else 0.5

    def class_index(self, name: str) -> int:
        """The position of the class called `name`.

        Raises:
            UsageError: the model has no such class.
        """
        if name not in self.classes:
            raise UsageError(f"{self.name} has no class {name!r}.", f"Its classes: {', '.join(self.classes)}.")
        return self.classes.index(name)


def open_bundle(folder: Path, engine: str = "auto", *, threads: int = 0) -> OpenedModel:
    """Open a bundle for explaining.

    Raises:
        UsageError, BundleError: as `Predictor.open`.
    """
    return from_predictor(Predictor.open(folder, engine, threads=threads))


def from_predictor(predictor: Predictor) -> OpenedModel:
    """Explain with a predictor that is open already: no second engine, no second check."""
    bundle = predictor.bundle
    head, no_head = _pooled_head(bundle, predictor.engine)
    return OpenedModel(
        name=str(bundle.facts.get("name", bundle.folder.name)),
        identifier=bundle.identifier,
        graph=bundle.graph,
        card=bundle.card,
        task=bundle.task,
        classes=bundle.classes,
        positive=bundle.positive,
        engine=predictor.engine,
        head=head,
        no_head=no_head,
        bundle=bundle,
    )


def log_odds(logits: npt.NDArray[Any], task: str, class_index: int) -> npt.NDArray[np.float64]:
    """The log-odds (N,) of one class from logits (N, K): its logit, for exclusive classes against all others together.

    A step of 1 multiplies the odds of the class by e; 0 is a probability of one half.
    """
    own = np.asarray(logits[:, class_index], dtype=np.float64)
    if task != "classes":
        return own
    others = np.delete(np.asarray(logits, dtype=np.float64), class_index, axis=1)
    return np.asarray(own - np.logaddexp.reduce(others, axis=1), dtype=np.float64)


def _pooled_head(bundle: Bundle, engine: Engine) -> tuple[LinearHead | None, str]:
    try:
        head = read_head(bundle.graph)
        golden = prepare_file(bundle.folder / GOLDEN, bundle.card)
        outputs = engine.run(_as_input(golden[np.newaxis]))
        if "feature_map" not in outputs or "features" not in outputs:
            raise NoLinearHead("Its graph publishes no feature map.")
        check_pooling(head, dict(outputs))
    except NoLinearHead as error:
        return None, error.message
    return head, ""


def _as_input(films: Films) -> npt.NDArray[np.float32]:
    if films.dtype == np.uint8:
        return as_model_input(films)
    return np.asarray(films[..., np.newaxis] / np.float32(255), dtype=np.float32)
