"""The served models: loaded and checked in the background, ready when the golden film got its golden scores.

Alive is the process; ready is every model. Until then, and when a check failed, requests for a model are refused
with `not_ready`, and nothing is scored by an engine that has not proved itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from cxray.bundle import Bundle
from cxray.errors import CxrayError
from cxray.rundir import MANIFEST
from cxray.runtime.predict import Predictor
from cxray.serve.batching import BatchQueue
from cxray.serve.evidence import Evidence, read_evidence
from cxray.serve.metrics import Metrics
from cxray.serve.problems import Problem
from cxray.serve.settings import Settings

T = TypeVar("T")
log = logging.getLogger("cxray.serve")


class ServedModel:
    """One bundle under one name. `state`: "loading", "ready" or "failed" (then `error` says why)."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.state, self.error = "loading", ""
        self.failure: CxrayError | None = None
        self.evidence: Evidence | None = None
        self.queue: BatchQueue | None = None
        self._predictor: Predictor | None = None

    @property
    def predictor(self) -> Predictor:
        """The verified model.

        Raises:
            Problem: not ready.
        """
        if self.state != "ready" or self._predictor is None:
            raise Problem("not_ready")
        return self._predictor

    @property
    def bundle(self) -> Bundle:
        """The bundle of the verified model."""
        return self.predictor.bundle

    @property
    def pages(self) -> dict[str, Path]:
        """The pages that lie beside the bundle in its finished run: "report", and "card" where one was written."""
        run = self.bundle.folder.parent
        if not (run / MANIFEST).is_file():
            return {}
        wanted = {"report": (run / "report.html",), "card": (run / "card" / "card.html", run / "card.html")}
        found = {name: next((path for path in paths if path.is_file()), None) for name, paths in wanted.items()}
        return {name: path for name, path in found.items() if path}

    def load(self, engine: str, threads: int) -> None:
        """Open and verify; slow, so called in the model thread. Failure is kept in `failure`, never raised."""
        try:
            predictor = Predictor.open(self.folder, engine, threads=threads)
            self.evidence = read_evidence(predictor.bundle)
            self._predictor, self.state = predictor, "ready"
        except CxrayError as error:
            self.state, self.error, self.failure = "failed", error.client_text, error
            log.error("model %s is not ready: %s", self.name, error)

    def run(self, films: npt.NDArray[np.float32]) -> Mapping[str, npt.NDArray[Any]]:
        """Films float32 (N, height, width, 1), 0–1, to every output of the graph and `scores` float64 (N, K)."""
        outputs: dict[str, npt.NDArray[Any]] = dict(self.predictor.engine.run(films))
        outputs["scores"] = self.bundle.probabilities(outputs["logits"])
        return outputs


class Models:
    """All served models, sharing one model thread so that the engine's own threads do not fight."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="cxray-model")
        self._models = {name: ServedModel(name, folder) for name, folder in settings.bundles.items()}

    def __iter__(self) -> Any:
        return iter(self._models.values())

    @property
    def names(self) -> Sequence[str]:
        """The names, the default first."""
        return list(self._models)

    @property
    def is_ready(self) -> bool:
        """Whether every model is."""
        return all(model.state == "ready" for model in self)

    @property
    def waiting(self) -> int:
        """Films in line for the engine."""
        return sum(len(model.queue) for model in self if model.queue)

    def find(self, name: str = "") -> ServedModel:
        """The model of that name; "" = the default.

        Raises:
            Problem: there is none.
        """
        if not name:
            return next(iter(self._models.values()))
        if name not in self._models:
            raise Problem("unknown_model")
        return self._models[name]

    async def in_model_thread(self, work: Callable[[], T]) -> T:
        """Run `work` where nothing else uses an engine at the same time."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def load(self) -> None:
        """Load and verify all, then let their queues work."""
        loop = asyncio.get_running_loop()
        threads = self._settings.threads
        for model in self:
            await loop.run_in_executor(self._executor, model.load, self._settings.engine, threads)
            if model.state == "ready":
                model.queue = BatchQueue(
                    model.run, self._executor, batch=self._settings.limits.batch, seen=self._metrics.batch_seen
                )
                model.queue.start()
            self._metrics.model_ready(model.name, model.state == "ready")

    async def stop(self) -> None:
        """Stop the queues and the model thread."""
        for model in self:
            if model.queue:
                await model.queue.stop()
        self._executor.shutdown(wait=False, cancel_futures=True)
