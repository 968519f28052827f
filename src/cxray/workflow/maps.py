"""Maps beside the misjudged films of a report: only of a model whose attribution card allows them.

The bundle is opened and each film scored again, so this is done for the few films that a page shows, and only for a
single question: a map belongs to one class.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from cxray.config import InputCard
from cxray.data.prepare import prepare_file
from cxray.errors import UnreadableImage
from cxray.evaluate.evaluation import Evaluation
from cxray.explain.attribution import CLASS_ACTIVATION, CONTRAST, OCCLUSION
from cxray.explain.card import ClassCard
from cxray.explain.explanation import card_of, map_of
from cxray.explain.opened import OpenedModel, open_bundle
from cxray.explain.overlay import overlay, scale_of

# The cheaper kinds first: they come with the score, the last scores a film some hundred times.
_KINDS = (CONTRAST, CLASS_ACTIVATION, OCCLUSION)


def film_maps(evaluation: Evaluation, bundle: Path | None, films: Mapping[str, Path], *, side: int) -> dict[str, bytes]:
    """PNGs of films with the map of the question's class over them, by the names given; empty where none may be shown.

    `side` is the longer side in pixels. A film that cannot be read is left out.

    Raises:
        BundleError: the bundle or its card is damaged.
    """
    label = str(evaluation.facts.get("positive") or "")
    if bundle is None or not films or not label or not evaluation.facts.get("attribution"):
        return {}
    model = open_bundle(bundle)
    card = card_of(model)
    kind = next((kind for kind in _KINDS if card and card.verdict(label, kind).may_show), "")
    part = card.of(label, kind) if card and kind else None
    if part is None or label not in model.classes:
        return {}
    found = {name: _map_png(model, path, part, side=side) for name, path in films.items()}
    return {name: png for name, png in found.items() if png}


def _map_png(model: OpenedModel, path: Path, part: ClassCard, *, side: int) -> bytes:
    try:
        film = prepare_file(path, model.card)
        large = prepare_file(path, _enlarged(model.card, side))
    except UnreadableImage:
        return b""
    outputs = model.run(film[np.newaxis])
    found = map_of(model, film, outputs, model.classes.index(part.class_name), part.method, part)
    stream = io.BytesIO()
    Image.fromarray(overlay(large, found, scale_of(found, part.scale))).save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _enlarged(card: InputCard, side: int) -> InputCard:
    """The model's own framing with its longer side at `side` pixels."""
    enlarge = side / max(card.height, card.width)
    return dataclasses.replace(card, height=round(card.height * enlarge), width=round(card.width * enlarge))
