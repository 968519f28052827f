"""The battery: every test of a model's maps for one class, in one pass over a sample of films.

Two kinds of result. Tests of the maps (are they true to the model?) decide whether maps are shown. Findings about the
model (does it live on the frame of the film, does it need the lungs?) never hide a map: a faithful map of a bad model
is what one wants to see.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cxray import progress
from cxray.evaluate.ranking import auroc_interval
from cxray.explain import faithfulness
from cxray.explain.attribution import CONTRAST, OCCLUSION, Attribution, explain_films, method_of, reference_map
from cxray.explain.grid import Map, upsample
from cxray.explain.lungs import lung_field
from cxray.explain.measures import MapTest, Measure
from cxray.explain.opened import OpenedModel
from cxray.explain.randomise import CASCADE, with_random_head, with_random_weights
from cxray.explain.regions import cover_lungs, swap_frames
from cxray.explain.sample import Sample

_Explain = Callable[[OpenedModel, npt.NDArray[Any], int], list[Attribution]]
_PLACEMENTS = 3
_CHEAP_PLACEMENTS = 20
# For maps of shuffled networks, and for those of moved films where a map is many predictions.
_COSTLY_FILMS = 12
# A map that keeps half of its ranking although the model forgot everything shows the film, not the model; one that
# loses more than half when the film moves by 3 % shows noise. The limits are those of Arun et al. 2021.
_HALF = 0.5
# More than this share of the difference between the classes carried by the frame, or this AUROC without lungs, is
# reported. Models of synthetic films without a planted mark stay below both (benchmarks/README.md).
FRAME_LIMIT, COVERED_LIMIT = 0.1, 0.85

DELETION = MapTest(
    "deletion",
    "Covering the places the map names lowers the score more than covering others",
    "mean log-odds lost beyond maps in random places, RISE deletion",
    at_least=0.0,
    above=True,
)
INSERTION = MapTest(
    "insertion",
    "Showing only the places the map names brings the score back more than others",
    "mean log-odds gained beyond maps in random places, RISE insertion",
    at_least=0.0,
    above=True,
)
FILM_SPECIFIC = MapTest(
    "film_specific",
    "The film's own map beats the map of another film",
    "mean log-odds lost beyond another film's map, deletion",
    decides=False,
    at_least=0.0,
    above=True,
)
HEAD = MapTest(
    "head_randomisation",
    "The map changes when the model's last layer forgets what it learned",
    "mean absolute rank correlation with the map of a shuffled head, Adebayo",
    at_most=_HALF,
)
WEIGHTS = MapTest(
    "weight_randomisation",
    "The map changes when the whole network forgets what it learned",
    "mean absolute rank correlation with the map of a shuffled network, Adebayo",
    at_most=_HALF,
)
REPEATABLE = MapTest(
    "repeatability",
    "The map stays on the patient when the film moves by 3 %",
    "mean rank correlation of maps of shifted films, moved back",
    at_least=_HALF,
)
ACROSS_MODELS = MapTest(
    "across_models",
    "Models trained with other seeds point at the same places",
    "mean rank correlation with the maps of the other bundles",
    decides=False,
    at_least=_HALF,
)
POINTING = MapTest(
    "pointing_game",
    "The strongest evidence lies in the known opacity",
    "share of films, peak inside the mask",
)
POINTING_NEAR = MapTest(
    "pointing_game_tolerant",
    "The strongest evidence lies in or beside the known opacity",
    "share of films, peak within 3 % of the side of the mask",
    decides=False,
)
OVERLAP = MapTest(
    "overlap",
    "The strongest evidence covers the known opacity",
    "mean intersection over union at the mask's own size",
    decides=False,
)
LUNGS = MapTest(
    "lung_share",
    "Share of the evidence inside the lung fields",
    "share of positive evidence in the estimated lung fields",
    decides=False,
)
FRAME = MapTest(
    "frame_share",
    "Share of the difference between the classes that the frame of the film carries",
    "frames of films of both classes exchanged; bootstrap",
    decides=False,
    alarm=FRAME_LIMIT,
)
COVERED = MapTest(
    "lungs_covered_auroc",
    "AUROC when the lungs are covered",
    "estimated lung fields replaced by their surroundings; DeLong",
    decides=False,
    alarm=COVERED_LIMIT,
)


def run_battery(
    model: OpenedModel,
    sample: Sample,
    class_index: int,
    *,
    method: str = "",
    others: Sequence[tuple[OpenedModel, Any]] = (),
) -> tuple[list[Measure], float]:
    """All measures of one class, and the scale of its maps: the 99th percentile of a cell's absolute log-odds.

    `method` is the kind of map, by default the model's own. `others` are further models with the films of the class as
    they prepare them (N, height, width).
    """
    explain = _explainer(method or method_of(model), sample.others)
    if method == CONTRAST:  # the films without the class are prepared for this model only
        others = [(other, films) for other, films in others if other.card == model.card]
    called = _called(model, sample, class_index, explain)
    measures: list[Measure] = []
    if len(called.films):
        measures += _removal(model, called, class_index)
        measures += _randomised(model, called, class_index)
        measures.append(_repeatable(model, called, class_index))
        measures += _against_models(called, class_index, others)
        measures += _places(called)
    else:
        reason = "the model calls none of the films of the class"
        measures += [test.without(0, reason) for test in (DELETION, INSERTION, HEAD, WEIGHTS, REPEATABLE)]
    measures += model_findings(model, sample, class_index)
    return measures, _scale(called)


def _explainer(method: str, others: npt.NDArray[np.uint8]) -> _Explain:
    """How maps of `method` are made; contrast is against the films without the class as each model sees them."""
    if method != CONTRAST:
        return functools.partial(explain_films, method=method)
    known: list[tuple[OpenedModel, Map]] = []

    def explain(model: OpenedModel, films: npt.NDArray[Any], class_index: int) -> list[Attribution]:
        found = next((reference for one, reference in known if one is model), None)
        if found is None:
            found = reference_map(model, others, class_index)
            known.append((model, found))
        return explain_films(model, films, class_index, method=CONTRAST, reference=found)

    return explain


@dataclasses.dataclass(frozen=True, eq=False)
class _Called:
    """The films of the class that the model calls (true positives), their maps, and which of the sample they are."""

    films: npt.NDArray[np.uint8]
    maps: list[Attribution]
    rows: npt.NDArray[np.intp]
    opacities: tuple[npt.NDArray[np.bool_], ...]
    explain: _Explain


def _called(model: OpenedModel, sample: Sample, class_index: int, explain: _Explain) -> _Called:
    maps = explain(model, sample.films, class_index) if len(sample.films) else []
    limit = model.threshold(class_index)
    rows = np.array([k for k, one in enumerate(maps) if one.score >= limit], dtype=np.intp)
    opacities = tuple(sample.opacities[row] for row in rows) if sample.opacities else ()
    return _Called(sample.films[rows], [maps[row] for row in rows], rows, opacities, explain)


def _removal(model: OpenedModel, called: _Called, class_index: int) -> list[Measure]:
    """Deletion and insertion of the film's own map, of chance maps and of another film's map."""
    rng = np.random.default_rng(0)
    areas = []
    pairs = list(zip(called.films, called.maps, strict=True))
    for row, (film, own) in enumerate(progress.track(pairs, total=len(pairs), what="Deletion and insertion")):
        chance = [faithfulness.null_map(own.values, rng) for _ in range(_PLACEMENTS)]
        neighbour = called.maps[(row + 1) % len(called.maps)].values
        found = faithfulness.deletion_insertion(model, film, [own.values, *chance, neighbour], class_index)
        areas.append([(one.deletion, one.insertion) for one in found])
    table = np.array(areas)  # films × (own, chance…, neighbour) × (deletion, insertion)
    deletion, insertion = table[:, :, 0], table[:, :, 1]
    lost = deletion[:, 1:-1].mean(axis=1) - deletion[:, 0]
    gained = insertion[:, 0] - insertion[:, 1:-1].mean(axis=1)
    return [
        DELETION.mean(lost, _against_rest(-deletion[:, 1:-1])),
        INSERTION.mean(gained, _against_rest(insertion[:, 1:-1])),
        FILM_SPECIFIC.mean(deletion[:, -1] - deletion[:, 0]),
    ]


def _against_rest(chance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each chance map's advantage over the mean of the other chance maps of its film (n, r)."""
    others = (chance.sum(axis=1, keepdims=True) - chance) / (chance.shape[1] - 1)
    return np.asarray(chance - others)


def _randomised(model: OpenedModel, called: _Called, class_index: int) -> list[Measure]:
    rng = np.random.default_rng(0)
    films = called.films[:_COSTLY_FILMS]
    maps = called.maps[:_COSTLY_FILMS]
    null = np.array([[_alike(one, faithfulness.null_map(one.values, rng)) for _ in range(10)] for one in maps])
    found = []
    if maps[0].method == OCCLUSION:
        found.append(HEAD.without(0, "this kind of map does not use the last layer; the whole network is shuffled"))
    else:
        twins = called.explain(with_random_head(model, rng), films, class_index)
        found.append(HEAD.mean(_all_alike(maps, twins), null))
    stages = [
        _all_alike(maps, called.explain(with_random_weights(model, share, rng), films, class_index))
        for share in CASCADE
    ]
    whole = WEIGHTS.mean(stages[-1], null)
    steps = ", ".join(f"{share:.0%}: {values.mean():.2f}" for share, values in zip(CASCADE, stages, strict=True))
    return [*found, dataclasses.replace(whole, method=f"{whole.method}; by share of shuffled layers {steps}")]


def _all_alike(maps: Sequence[Attribution], twins: Sequence[Attribution]) -> npt.NDArray[np.float64]:
    return np.array([_alike(one, twin.values) for one, twin in zip(maps, twins, strict=True)])


def _alike(one: Attribution, other: npt.NDArray[np.float32]) -> float:
    """Absolute rank correlation; a twin that is flat or not finite shares nothing with the map."""
    found = faithfulness.similarity(one.values, other) if np.isfinite(other).all() else float("nan")
    return 0.0 if np.isnan(found) else abs(found)


def _repeatable(model: OpenedModel, called: _Called, class_index: int) -> Measure:
    def make(films: Any) -> list[npt.NDArray[np.float32]]:
        return [one.values for one in called.explain(model, films, class_index)]

    is_free = called.maps[0].method != OCCLUSION
    films = called.films if is_free else called.films[:_COSTLY_FILMS]
    values = [faithfulness.shift_similarity(film, make) for film in films]
    return REPEATABLE.mean(np.array(values))


def _against_models(called: _Called, class_index: int, others: Sequence[tuple[OpenedModel, Any]]) -> list[Measure]:
    if not others:
        return []
    shape = called.films.shape[1:]
    own = [upsample(one.values, *shape) for one in called.maps]
    columns = []
    for other, films in others:
        twins = called.explain(other, films[called.rows], class_index)
        columns.append(
            [faithfulness.similarity(one, upsample(twin.values, *shape)) for one, twin in zip(own, twins, strict=True)]
        )
    rng = np.random.default_rng(0)
    null = [
        [faithfulness.similarity(one.values, faithfulness.null_map(one.values, rng)) for _ in range(10)]
        for one in called.maps
    ]
    return [ACROSS_MODELS.mean(np.mean(columns, axis=0), np.array(null))]


def _places(called: _Called) -> list[Measure]:
    """Where the evidence lies: in the lungs, and in the opacities where they are known."""
    rng = np.random.default_rng(0)
    chance = [[faithfulness.null_map(one.values, rng) for _ in range(_CHEAP_PLACEMENTS)] for one in called.maps]
    fields = [lung_field(film) for film in called.films]
    inside = np.array(
        [faithfulness.share_inside(one.values, field) for one, field in zip(called.maps, fields, strict=True)]
    )
    null = [[faithfulness.share_inside(m, field) for m in row] for row, field in zip(chance, fields, strict=True)]
    found = [LUNGS.mean(inside, np.array(null))]
    if called.opacities:
        found += _known_opacities(called, chance)
    return found


def _known_opacities(called: _Called, chance: Sequence[Sequence[npt.NDArray[np.float32]]]) -> list[Measure]:
    masks = called.opacities
    near = [_widened(mask) for mask in masks]
    null = _by_film(chance, masks, faithfulness.points_at)
    pointing = POINTING.rate(
        np.array([faithfulness.points_at(o, m) for o, m in zip(called.maps, masks, strict=True)]), null
    )
    tolerant = POINTING_NEAR.rate(
        np.array([faithfulness.points_at(o, m) for o, m in zip(called.maps, near, strict=True)]),
        _by_film(chance, near, faithfulness.points_at),
    )
    shared = np.array([faithfulness.overlap(o.values, m) for o, m in zip(called.maps, masks, strict=True)])
    return [_above_chance(pointing), tolerant, OVERLAP.mean(shared, _by_film(chance, masks, faithfulness.overlap))]


def _widened(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    reach = faithfulness.TOLERANCE_SHARE * min(mask.shape)
    return np.asarray(ndimage.distance_transform_edt(~mask) <= reach) if mask.any() else mask


def _by_film(
    chance: Sequence[Sequence[npt.NDArray[np.float32]]],
    masks: Sequence[npt.NDArray[np.bool_]],
    measure: Callable[[npt.NDArray[np.float32], npt.NDArray[np.bool_]], float],
) -> npt.NDArray[np.float64]:
    return np.array([[float(measure(m, mask)) for m in row] for row, mask in zip(chance, masks, strict=True)])


def _above_chance(found: Measure) -> Measure:
    """The pointing game's bar is its own null: a lower limit above what maps in random places reach."""
    if found.low is None or found.null is None:
        return found
    bar = f"lower limit above the {found.null.high:.2f} that maps in random places reach"
    return dataclasses.replace(found, bar=bar, passed=found.low > found.null.high)


def model_findings(model: OpenedModel, sample: Sample, class_index: int) -> list[Measure]:
    """What the model lives on, asked by changing films: the frame's share, and AUROC with the lungs covered."""
    films, others = sample.films, sample.others
    if not (len(films) and len(others)):
        reason = "films of both kinds with known labels are needed"
        return [FRAME.without(0, reason), COVERED.without(0, reason)]
    pairs = min(len(films), len(others))
    swap = swap_frames(model, films[:pairs], others[:pairs], class_index)
    covered = np.stack([cover_lungs(film) for film in (*films, *others)])
    odds = model.log_odds(covered, class_index)
    has = np.arange(len(odds)) < len(films)
    found = auroc_interval(odds, has, np.arange(len(odds)))
    area = COVERED.without(len(odds), found.withheld)
    if found.value is not None and found.low is not None and found.high is not None:
        area = COVERED.known(found.value, (found.low, found.high), len(odds))
    return [FRAME.ratio(swap.moved, swap.gap), area]


def _scale(called: _Called) -> float:
    cells = [np.abs(one.values).ravel() for one in called.maps if not one.is_flat]
    return float(np.quantile(np.concatenate(cells), 0.99)) if cells else 0.0
