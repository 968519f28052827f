"""The picture of one explained film: film, map with its colour bar, score, gate, what moves the score, films like it.

`draw` takes a finished `Explanation` and draws; nothing is computed here. No pyplot, so it may run in any thread.
"""

from __future__ import annotations

import dataclasses
import io
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cxray.explain.attribution import CLASS_ACTIVATION, CONTRAST, OCCLUSION
from cxray.explain.explanation import Explanation
from cxray.explain.neighbours import Neighbour
from cxray.explain.overlay import COLOUR_MAP, film_as_rgb, overlay, scale_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, RULE, WARM, COLD, ALARM = "#1d2733", "#5c6776", "#d9dde3", "#b5502b", "#2f73a6", "#9c2f12"
_INCHES = (13.2, 8.6)
_DOTS_PER_INCH = 130
_EFFECTS_SHOWN = 6
# Where the column of facts begins and must end, as shares of its height: the films like this one stand below it.
_FACTS_TOP, _FACTS_BOTTOM = 0.665, -0.035
_METHODS = {
    CLASS_ACTIVATION: "class activation",
    CONTRAST: "class activation, beyond films without the class",
    OCCLUSION: "occlusion",
}
_GATE = {
    "inside": "Like the films the model was trained on.",
    "outside": "Unlike the films the model was trained on: the score means little.",
    "not_radiograph": "Not a chest radiograph the model knows: the score means nothing.",
}
NOTE = "Research use only. The map shows what the model used, not where disease is."


def draw(explanation: Explanation, thumbnails: Mapping[str, npt.NDArray[np.uint8]] | None = None) -> Figure:
    """The whole picture as a matplotlib figure; `thumbnails` are grey films (height, width) by name, if at hand."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCHES, dpi=_DOTS_PER_INCH, facecolor="white")
    figure.text(0.025, 0.958, explanation.path.name, fontsize=15, color=INK, fontweight="bold", parse_math=False)
    figure.text(0.985, 0.958, f"model {explanation.model}", fontsize=9, color=MUTED, ha="right", parse_math=False)
    figure.text(0.025, 0.014, NOTE, fontsize=9, color=MUTED)
    _film(figure.add_axes((0.025, 0.435, 0.31, 0.476)), film_as_rgb(explanation.film), "Film, as the model frames it")
    _map(figure.add_axes((0.355, 0.435, 0.31, 0.476)), explanation)
    _facts(figure.add_axes((0.70, 0.40, 0.285, 0.54)), explanation)
    figure.text(0.025, 0.352, "What changed the score most, the patient being the same", fontsize=11, color=INK)
    _effects(figure.add_axes((0.195, 0.085, 0.28, 0.255)), explanation)
    figure.text(0.53, 0.352, "Films like this one: validation films, nearest by features", fontsize=11, color=INK)
    _neighbours(figure, explanation, thumbnails or {})
    return figure


def as_png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _film(axes: Axes, picture: npt.NDArray[np.uint8], title: str) -> None:
    axes.imshow(picture, interpolation="bilinear")
    axes.set_title(title, fontsize=11, color=INK, loc="left")
    axes.set_axis_off()


def _map(axes: Axes, explanation: Explanation) -> None:
    found = explanation.attribution
    if found is None:
        _film(axes, film_as_rgb((explanation.film * 0.35).astype(np.uint8)), "No map")
        _over_film(axes, f"No map is shown. {explanation.verdict.reason}")
        return
    method = _METHODS[found.method]
    if found.is_flat:
        _film(axes, film_as_rgb(explanation.film), f"Map for {explanation.class_name} ({method})")
        _over_film(axes, "The map is flat: no place of this film adds more to the score than another.")
        return
    scale = scale_of(found, explanation.scale)
    _film(axes, overlay(explanation.film, found, scale), f"What speaks for {explanation.class_name} ({method})")
    _colour_bar(axes, scale, found.method)
    if not explanation.verdict.may_show:
        _over_film(axes, f"Shown on request all the same. {explanation.verdict.reason}", at_bottom=True)


def _over_film(axes: Axes, text: str, *, at_bottom: bool = False) -> None:
    axes.text(
        0.5, 0.03 if at_bottom else 0.5, textwrap.fill(text, 52), transform=axes.transAxes, ha="center",
        va="bottom" if at_bottom else "center", fontsize=10, color="white", parse_math=False,
        bbox={"facecolor": "#111820", "alpha": 0.82, "edgecolor": "none", "boxstyle": "round,pad=0.6"},
    )  # fmt: skip


def _colour_bar(axes: Axes, scale: float, method: str) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    figure = axes.get_figure(root=True)
    assert figure is not None
    colours = ScalarMappable(Normalize(-scale, scale), COLOUR_MAP)
    place = figure.add_axes((0.355, 0.417, 0.31, 0.012))
    bar = figure.colorbar(colours, cax=place, orientation="horizontal", ticks=[-scale, 0, scale])
    unit = "log-odds a cell adds" if method != OCCLUSION else "log-odds lost when covered"
    bar.ax.set_xticklabels([f"−{scale:.2g} against", unit, f"for +{scale:.2g}"], fontsize=8.5, color=INK)
    left, _, right = bar.ax.get_xticklabels()
    left.set_horizontalalignment("left")
    right.set_horizontalalignment("right")
    bar.ax.tick_params(length=0, pad=3)
    place.set_frame_on(False)


def _facts(axes: Axes, explanation: Explanation) -> None:
    axes.set_axis_off()
    is_called = explanation.score >= explanation.threshold
    axes.text(0, 0.985, f"Score for {explanation.class_name}", fontsize=11, color=INK, va="top", parse_math=False)
    axes.text(0, 0.93, _percent(explanation.score), fontsize=34, color=WARM if is_called else COLD, va="top")
    _score_line(axes, explanation, 0.76)
    paragraphs = _paragraphs(explanation)
    height = sum(paragraph.height for paragraph in paragraphs)
    shrink = min(1.0, (_FACTS_TOP - _FACTS_BOTTOM) / height)
    y = _FACTS_TOP
    for paragraph in paragraphs:
        paragraph.draw(axes, y, shrink)
        y -= shrink * paragraph.height


def _paragraphs(explanation: Explanation) -> list[_Paragraph]:
    decision = _Paragraph("Decision", explanation.decision or "none", is_strong=True)
    head = "Is it a film for this model?"
    if explanation.gate:
        text = f"{_GATE[explanation.gate.answer]} (distance {explanation.gate.distance:.2f}, limit 1)"
        gate = _Paragraph(head, text, is_alarm=explanation.gate.answer != "inside")
    else:
        gate = _Paragraph(head, "Unknown: the model has no input gate.")
    belief = _Paragraph("Can the map be believed?", explanation.verdict.reason)
    cautions = [_Paragraph("Caution", sentence, is_alarm=True) for sentence in explanation.findings[:2]]
    return [decision, gate, belief, *cautions]


def _score_line(axes: Axes, explanation: Explanation, y: float) -> None:
    axes.plot([0, 1], [y, y], color=RULE, linewidth=7, solid_capstyle="butt", transform=axes.transAxes)
    colour = WARM if explanation.score >= explanation.threshold else COLD
    axes.plot(
        [0, explanation.score], [y, y], color=colour, linewidth=7, solid_capstyle="butt", transform=axes.transAxes
    )
    at = explanation.threshold
    axes.plot([at, at], [y - 0.025, y + 0.025], color=INK, linewidth=1.6, transform=axes.transAxes)
    side = "left" if at < 0.2 else "right" if at > 0.8 else "center"
    axes.text(at, y - 0.032, f"threshold {_percent(at)}", fontsize=8.5, color=MUTED, ha=side, va="top")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


@dataclasses.dataclass(frozen=True)
class _Paragraph:
    """A headed paragraph of the column of facts; heights are shares of the column."""

    head: str
    text: str
    is_strong: bool = False
    is_alarm: bool = False

    @property
    def lines(self) -> list[str]:
        return textwrap.wrap(self.text, 30 if self.is_strong else 52)[:6] or [""]

    @property
    def height(self) -> float:
        return 0.062 + len(self.lines) * (0.05 if self.is_strong else 0.037)

    def draw(self, axes: Axes, y: float, shrink: float) -> None:
        """Write it with its top at `y`; `shrink` (at most 1) makes room for many paragraphs."""
        axes.text(0, y, self.head, fontsize=8.5 * shrink, color=MUTED, va="top")
        axes.text(
            0, y - 0.034 * shrink, "\n".join(self.lines), fontsize=(13 if self.is_strong else 9.5) * shrink,
            color=ALARM if self.is_alarm else INK, va="top", fontweight="bold" if self.is_strong else "normal",
            linespacing=1.25, parse_math=False,
        )  # fmt: skip


def _effects(axes: Axes, explanation: Explanation) -> None:
    shown = explanation.effects[:_EFFECTS_SHOWN]
    places = np.arange(len(shown))[::-1]
    changes = [effect.log_odds_change for effect in shown]
    axes.barh(places, changes, height=0.62, color=[WARM if change > 0 else COLD for change in changes])
    axes.axvline(0, color=INK, linewidth=0.8)
    reach = max([abs(change) for change in changes] + [0.1])
    axes.set_xlim(-reach * 2.5, reach * 2.5)
    for place, effect in zip(places, shown, strict=True):
        is_up = effect.log_odds_change > 0
        words = f"{_percent(explanation.score)} → {_percent(effect.score)}{', flips' if effect.flips else ''}"
        axes.text(
            effect.log_odds_change + (0.04 if is_up else -0.04) * reach, place, words, fontsize=8.5, va="center",
            ha="left" if is_up else "right", color=ALARM if effect.flips else INK,
        )  # fmt: skip
    axes.set_yticks(places, [effect.name for effect in shown], fontsize=8.5, color=INK)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8, colors=MUTED)
    axes.set_xlabel("change in log-odds", fontsize=8.5, color=MUTED, labelpad=1)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(RULE)


def _neighbours(figure: Figure, explanation: Explanation, thumbnails: Mapping[str, npt.NDArray[np.uint8]]) -> None:
    found = explanation.neighbours
    if not found:
        figure.text(0.53, 0.318, explanation.no_neighbours, fontsize=9.5, color=MUTED, va="top")
    width = 0.455 / max(1, len(found))
    for place, one in enumerate(found):
        picture = thumbnails.get(one.film)
        if picture is None:
            figure.text(0.53, 0.318 - 0.055 * place, _line(one), fontsize=9, color=INK, va="top", parse_math=False)
            continue
        axes = figure.add_axes((0.53 + place * width, 0.165, 0.94 * width, 0.16))
        axes.imshow(film_as_rgb(picture))
        axes.set_axis_off()
        figure.text(
            0.53 + place * width, 0.158, _caption(one), fontsize=7.5, color=INK, va="top", parse_math=False,
            linespacing=1.3,
        )  # fmt: skip


def _line(one: Neighbour) -> str:
    return f"{one.film}   {one.label or 'no label'}\nlikeness {one.similarity:.2f}, {_usual(one)}"


def _usual(one: Neighbour) -> str:
    return f"closer than {one.usual:.0%} of validation films are to any other"


def _caption(one: Neighbour) -> str:
    stem = one.film.rpartition(".")[0] or one.film
    name = stem if len(stem) <= 20 else f"{stem[:10]}…{stem[-9:]}"
    return f"{name}\n{one.label or 'no label'}\nlikeness {one.similarity:.2f}"


def _percent(share: float) -> str:
    if share >= 0.9995 or share < 0.0005:
        return "> 99.9 %" if share > 0.5 else "< 0.1 %"
    return f"{share:.1%}".replace("%", " %")
