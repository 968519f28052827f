"""The road of one film through the service: place, decode, line, model, answer, audit.

    read ─► decode (child) ─► waiting line ─► model ─► answer ─► audit log

Everything that answers about films, page and programs alike, comes through `Service.score`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Any

import numpy as np

from cxray.data.prepare import as_model_input
from cxray.runtime.gate import Verdict
from cxray.serve.admission import Admission
from cxray.serve.audit_log import AuditLog
from cxray.serve.batching import Row
from cxray.serve.decoders import Decoded, DecoderPool, all_of
from cxray.serve.heat_map import HeatMaps, load_libraries
from cxray.serve.metrics import Metrics
from cxray.serve.models import Models, ServedModel
from cxray.serve.problems import Problem
from cxray.serve.settings import Settings
from cxray.serve.uploads import Upload


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """A film, its row of the model's outputs, and the input gate's verdict (None without a gate)."""

    film: Decoded
    row: Row
    verdict: Verdict | None

    @property
    def scores(self) -> Any:
        """Probabilities (K,)."""
        return self.row.outputs["scores"]


class Service:
    """All parts of one running service."""

    def __init__(self, settings: Settings) -> None:
        limits = settings.limits
        self.settings, self.limits = settings, limits
        self.metrics = Metrics()
        self.models = Models(settings, self.metrics)
        self.admission = Admission(limits)
        self.decoders = DecoderPool(
            settings.decoder_count, seconds=limits.decode_seconds, memory_bytes=limits.decode_memory_bytes
        )
        self.audit_log = AuditLog(settings.audit_log) if settings.audit_log else None
        self.is_draining = False
        self.loading: asyncio.Task[None] | None = None
        self._heat_maps: dict[str, HeatMaps] = {}
        self._warming: asyncio.Task[None] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether films may be sent: models verified, decoders up, not shutting down."""
        return self.models.is_ready and not self.is_draining

    async def start(self) -> None:
        """Start the decoders and load the models; returns when every model is ready or failed."""
        await all_of(self.decoders.start(), self.models.load())
        for model in self.models:
            if model.evidence:
                self.metrics.expect(model.name, model.evidence.scores())
        # Only now: ready comes first, and the first map need not wait for libraries either.
        self._warming = asyncio.create_task(asyncio.to_thread(load_libraries))

    async def stop(self) -> None:
        """Let go of everything."""
        if self._warming:
            await asyncio.gather(self._warming, return_exceptions=True)
        await self.models.stop()
        await self.decoders.stop()
        if self.audit_log:
            self.audit_log.close()

    def require_ready(self, model: ServedModel) -> None:
        """Refuse work that could not be done.

        Raises:
            Problem: draining, or the model is not ready.
        """
        if self.is_draining:
            raise Problem("draining")
        if model.state != "ready":
            raise Problem("not_ready")

    async def score(self, upload: Upload, model: ServedModel, *, request_id: str) -> Scored:
        """Decode and score one film, and write it to the audit log, refused or not.

        Raises:
            Problem: the film is refused, or the service cannot answer now.
        """
        try:
            film = await self.decoders.decode(upload.content, model.bundle.card)
            prepared = _prepared(film)[np.newaxis]
            row = await self.run(model, as_model_input(prepared)[0])
        except Problem as problem:
            self._audit(upload, model, request_id, refusal=problem.code)
            raise
        gate = model.predictor.gate
        verdict = gate.judge(row.outputs["features"][np.newaxis], prepared)[0] if gate else None
        scored = Scored(film, row, verdict)
        self.metrics.stage_done("decode", film.seconds)
        self._count(scored, model)
        score, decision = headline(model, scored.scores)
        self._audit(upload, model, request_id, score=round(score, 6), decision=decision, gate=gate_verdict(scored))
        return scored

    async def run(self, model: ServedModel, film: Any) -> Row:
        """One prepared film float32 (height, width, 1), 0–1, through the waiting line.

        Raises:
            Problem: the model is not ready, or what the waiting line says.
        """
        if model.queue is None:
            raise Problem("not_ready")
        row = await model.queue.submit(film)
        self.metrics.stage_done("wait", row.waited)
        self.metrics.stage_done("model", row.ran)
        return row

    async def heat_map(self, scored: Scored, model: ServedModel, class_name: str) -> dict[str, Any]:
        """The map of a scored film for `class_name`, "" = the positive class.

        Raises:
            Problem: no such class, or no map can be drawn for this model.
        """
        started = time.monotonic()
        maps = self._heat_maps.setdefault(model.name, HeatMaps(model.predictor))
        wanted = class_name or model.bundle.positive or model.bundle.classes[int(np.argmax(scored.scores))]
        await asyncio.to_thread(load_libraries)
        drawn = await self.models.in_model_thread(lambda: maps.draw(scored.row.outputs, wanted, scored.film.place))
        self.metrics.stage_done("heat_map", time.monotonic() - started)
        return drawn

    def _count(self, scored: Scored, model: ServedModel) -> None:
        score, decision = headline(model, scored.scores)
        self.metrics.film_scored(model.name, score, decision, gate_verdict(scored))

    def _audit(self, upload: Upload, model: ServedModel, request_id: str, **facts: Any) -> None:
        if self.audit_log:
            self.audit_log.append(
                upload.content, request_id=request_id, model=model.name, identifier=model.bundle.identifier, **facts
            )


def headline(model: ServedModel, scores: Any) -> tuple[float, str]:
    """The score that a worklist is sorted by, and the decision: of the positive class, else of the highest finding."""
    bundle = model.bundle
    if bundle.task == "classes" and bundle.positive in bundle.classes:
        return float(scores[bundle.classes.index(bundle.positive)]), bundle.decide(scores[np.newaxis])[0]
    return float(np.max(scores)), bundle.decide(scores[np.newaxis])[0]


def gate_verdict(scored: Scored) -> str:
    """The input gate's verdict on a film, "" when the bundle has no gate."""
    return scored.verdict.answer if scored.verdict else ""


def _prepared(film: Decoded) -> Any:
    if film.film is None:
        raise Problem("internal")
    return film.film
