"""Prometheus metrics of one service. No label ever carries a file name, a score or anything else of a film.

`cxray_score_shift` is the population stability index of the last `WINDOW` scores against the validation films of the
model: the sum over ten bins of (p − q) ln(p / q), bins of equal validation mass; below 0.1 is calm, above 0.25 a shift.
"""

from __future__ import annotations

from collections import defaultdict, deque

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from cxray import __version__

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SCORES = tuple(k / 10 for k in range(1, 11))
BATCHES = (1, 2, 4, 8, 16, 32)
WINDOW, FEWEST_FOR_SHIFT, SHIFT_BINS = 1000, 100, 10


class Metrics:
    """The counters of one service, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        Gauge("cxray_build_info", "Version of cxray.", ["version"], registry=registry).labels(__version__).set(1)
        self._requests = Counter("cxray_requests", "Finished requests.", ["route", "status", "code"], registry=registry)
        self._seconds = Histogram(
            "cxray_request_seconds", "From the first byte to the answer.", ["route"], buckets=SECONDS, registry=registry
        )
        self._stages = Histogram(
            "cxray_stage_seconds",
            "One film: read, decode, wait, model, heat_map.",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self._batches = Histogram("cxray_batch_films", "Films of one engine run.", buckets=BATCHES, registry=registry)
        self._scores = Histogram(
            "cxray_score", "Scores of the positive class.", ["model"], buckets=SCORES, registry=registry
        )
        self._decisions = Counter("cxray_decisions", "Decisions.", ["model", "decision"], registry=registry)
        self._gate = Counter("cxray_gate", "Verdicts of the input gate.", ["model", "verdict"], registry=registry)
        self._ready = Gauge("cxray_model_ready", "1 when the golden scores held.", ["model"], registry=registry)
        self._shift = Gauge(
            "cxray_score_shift", "Population stability index against validation.", ["model"], registry=registry
        )
        self._places = Gauge("cxray_films_under_way", "Films being read, decoded or scored.", registry=registry)
        self._waiting = Gauge("cxray_films_waiting", "Films in line for the engine.", registry=registry)
        self._restarts = Gauge("cxray_decoder_restarts", "Decoding children that were replaced.", registry=registry)
        self._reference: dict[str, npt.NDArray[np.float64]] = {}
        self._recent: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))

    def request_done(self, route: str, status: int, code: str, seconds: float) -> None:
        """One request; `code` is "" when it was not refused."""
        self._requests.labels(route, str(status), code).inc()
        self._seconds.labels(route).observe(seconds)

    def stage_done(self, stage: str, seconds: float) -> None:
        """One stage of one film."""
        self._stages.labels(stage).observe(seconds)

    def batch_seen(self, films: int) -> None:
        """One engine run."""
        self._batches.observe(films)

    def model_ready(self, model: str, is_ready: bool) -> None:
        """The outcome of a model's check."""
        self._ready.labels(model).set(is_ready)

    def expect(self, model: str, scores: npt.NDArray[np.float64]) -> None:
        """Set the scores (N,) that live ones are compared with."""
        edges = np.unique(np.quantile(scores, np.linspace(0, 1, SHIFT_BINS + 1)[1:-1]))
        self._reference[model] = edges
        self._reference[f"{model} share"] = _shares(scores, edges)

    def film_scored(self, model: str, score: float, decision: str, verdict: str) -> None:
        """One answer."""
        self._scores.labels(model).observe(score)
        self._decisions.labels(model, decision).inc()
        self._gate.labels(model, verdict or "none").inc()
        self._recent[model].append(score)

    def text(self, *, under_way: int, waiting: int, restarts: int) -> bytes:
        """The metrics in Prometheus' text format."""
        self._places.set(under_way)
        self._waiting.set(waiting)
        self._restarts.set(restarts)
        for model, scores in self._recent.items():
            if model in self._reference and len(scores) >= FEWEST_FOR_SHIFT:
                self._shift.labels(model).set(self._stability(model, np.array(scores)))
        return generate_latest(self._registry)

    def _stability(self, model: str, scores: npt.NDArray[np.float64]) -> float:
        expected = self._reference[f"{model} share"]
        seen = _shares(scores, self._reference[model])
        return float(((seen - expected) * np.log(seen / expected)).sum())


def _shares(scores: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    counts = np.bincount(np.searchsorted(edges, scores, side="right"), minlength=len(edges) + 1)
    # Half a film in every bin keeps the logarithm finite.
    return np.asarray((counts + 0.5) / (counts.sum() + 0.5 * len(counts)), dtype=np.float64)
