"""A heat map as the page draws it: small, signed, in log-odds, with the place of the film inside it.

The map tiles the prepared film, which is padded when the card says so; `film` says which part of the map lies on the
film itself, in fractions of its width and height.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cxray.config import InputCard
from cxray.errors import CxrayError
from cxray.runtime.predict import Predictor
from cxray.serve.problems import Problem

if TYPE_CHECKING:
    from cxray.explain.card import Card
    from cxray.explain.opened import OpenedModel

MEANING = (
    "How much each part of the film adds to the log-odds of the class: warm colours speak for it, cold ones against. "
    "It shows what the model used, not where disease is."
)
UNTESTED = "Whether such maps are true to this model was never tested (cxray explain --card tests it)."


class HeatMaps:
    """Draws maps from outputs that are at hand.

    What explains is imported and opened on first use: it would double the time until the service is ready.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._model: OpenedModel | None = None
        self._card: Card | None = None

    def draw(
        self, outputs: Mapping[str, npt.NDArray[Any]], class_name: str, place: tuple[int, int, int, int]
    ) -> dict[str, Any]:
        """The map of one film: `outputs` hold its row (1, …) of every output, `place` is where it lies when prepared.

        Raises:
            Problem: the model has no such class, or no head that a map can be read from.
        """
        from cxray.explain.attribution import CLASS_ACTIVATION, class_activation
        from cxray.explain.card import NO_CARD, WITHHELD

        try:
            model = self._open()
            index = model.class_index(class_name)
            verdict = self._card.verdict(class_name, CLASS_ACTIVATION) if self._card else NO_CARD
            if verdict.maps == WITHHELD:
                raise Problem("no_heat_map", verdict.reason)
            measured = self._card.of(class_name, CLASS_ACTIVATION) if self._card else None
            map_ = class_activation(model, {name: row[np.newaxis] for name, row in outputs.items()}, index)[0]
        except CxrayError:
            raise Problem("no_heat_map") from None
        return {
            "class_name": map_.class_name,
            "method": map_.method,
            "unit": "log-odds",
            "log_odds": map_.log_odds,
            "is_flat": map_.is_flat,
            "maps": verdict.maps,
            "reason": verdict.reason if verdict.may_show else UNTESTED,
            "scale": measured.scale if measured else None,
            "values": np.round(map_.values.astype(np.float64), 5).tolist(),
            "film": film_in_map(self._predictor.bundle.card, place),
            "meaning": MEANING,
        }

    def _open(self) -> OpenedModel:
        from cxray.explain.card import load_card
        from cxray.explain.opened import from_predictor

        if self._model is None:
            self._model = from_predictor(self._predictor)
            self._card = load_card(self._predictor.bundle.folder, self._model.identifier)
        return self._model


def load_libraries() -> None:
    """Import what explains, in whatever thread may wait for it."""
    import cxray.explain.attribution
    import cxray.explain.card  # noqa: F401


def film_in_map(card: InputCard, place: tuple[int, int, int, int]) -> dict[str, float]:
    """A film's place in its prepared picture (top, left, height, width in pixels) in fractions of the picture."""
    top, left, height, width = place
    return {
        "left": left / card.width,
        "top": top / card.height,
        "width": width / card.width,
        "height": height / card.height,
    }
