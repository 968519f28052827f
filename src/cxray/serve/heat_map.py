"""A heat map as the page draws it: small, signed, in log-odds, with the place of the film inside it.

The map tiles the prepared film, which is padded when the card says so; `film` says which part of the map lies on the
film itself, in fractions of its width and height.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.config import InputCard
from cxray.errors import CxrayError
from cxray.explain.attribution import class_activation
from cxray.explain.opened import OpenedModel, from_predictor
from cxray.runtime.predict import Predictor
from cxray.serve.problems import Problem

MEANING = (
    "How much each part of the film adds to the log-odds of the class: warm colours speak for it, cold ones against. "
    "It shows what the model used, not where disease is."
)


class HeatMaps:
    """Draws maps from outputs that are at hand; opened on first use, because reading the head takes a moment."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._model: OpenedModel | None = None

    def draw(
        self, outputs: Mapping[str, npt.NDArray[Any]], class_name: str, *, width: int, height: int
    ) -> dict[str, Any]:
        """The map of one film: `outputs` hold its row of every output; `width`, `height` its stored size in pixels.

        Raises:
            Problem: the model has no such class, or no head that a map can be read from.
        """
        try:
            if self._model is None:
                self._model = from_predictor(self._predictor)
            index = self._model.class_index(class_name)
            map_ = class_activation(self._model, {name: row[np.newaxis] for name, row in outputs.items()}, index)[0]
        except CxrayError:
            raise Problem("no_heat_map") from None
        return {
            "class_name": map_.class_name,
            "method": map_.method,
            "unit": "log-odds",
            "log_odds": map_.log_odds,
            "is_flat": map_.is_flat,
            "values": np.round(map_.values.astype(np.float64), 5).tolist(),
            "film": film_in_map(self._predictor.bundle.card, width=width, height=height),
            "meaning": MEANING,
        }


def film_in_map(card: InputCard, *, width: int, height: int) -> dict[str, float]:
    """Where a film of `width` × `height` lies in its prepared square: left, top, width, height in fractions of 1."""
    if card.fit == "stretch":
        return {"left": 0.0, "top": 0.0, "width": 1.0, "height": 1.0}
    scale = min(card.height / height, card.width / width)
    across, down = width * scale / card.width, height * scale / card.height
    return {"left": (1 - across) / 2, "top": (1 - down) / 2, "width": across, "height": down}
