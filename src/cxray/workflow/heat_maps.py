"""`cxray predict --heatmaps DIR`: one picture a film, the film with its map, as `cxray explain` draws it."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from cxray import progress, rundir
from cxray.data.intake import read_inputs
from cxray.data.prepare import prepare_file
from cxray.errors import UnreadableImage, UsageError
from cxray.explain.attribution import chosen_class, method_of
from cxray.explain.card import NO_CARD, Card, Verdict
from cxray.explain.explanation import card_of, display_card, map_of
from cxray.explain.opened import OpenedModel, open_bundle
from cxray.explain.overlay import overlay, scale_of


@dataclasses.dataclass(frozen=True, eq=False)
class HeatMaps:
    """Where maps go and whether they may be shown; opened before films are scored, so that a refusal costs nothing."""

    model: OpenedModel
    card: Card | None
    folder: Path
    untested: bool

    @classmethod
    def open(cls, bundle: Path, folder: Path, *, engine: str = "auto", untested: bool = False) -> HeatMaps:
        """Open a bundle and make the folder ready.

        Raises:
            UsageError: the model's maps may not be shown (the message says why), or the folder holds other work.
            BundleError, OutputError: the bundle or its card is damaged; the folder cannot be made.
        """
        model = open_bundle(bundle, engine)
        maps = cls(model, card_of(model), folder, untested)
        verdicts = [maps.verdict(name) for name in model.classes]
        if not untested and not any(one.may_show for one in verdicts):
            asked = maps.verdict(model.positive) if model.positive else verdicts[0]
            raise UsageError(
                f"Maps are not shown. {asked.reason}",
                f"Test them with `cxray explain {bundle} --card DATA`, or add --untested-maps to see them anyway.",
            )
        rundir.prepare_folder(folder)
        return maps

    def verdict(self, class_name: str) -> Verdict:
        """Whether maps for a class may be shown."""
        return self.card.verdict(class_name, method_of(self.model)) if self.card else NO_CARD

    def write(self, inputs: Sequence[Path], *, split: str = "") -> int:
        """Write the pictures of all films of `inputs` (of one `split`), numbered in their order; returns how many.

        Left out are films that cannot be read (their row in the predictions table says why) and films whose class has
        maps that may not be shown.

        Raises:
            OutputError: a picture cannot be written.
        """
        findings = self.model.classes if self.model.task == "findings" else ()
        found = read_inputs(inputs, self.model.classes, findings=findings).records
        paths = [record.path for record in found if not split or record.split == split]
        digits = len(str(len(paths)))
        written = 0
        for number, path in enumerate(progress.track(paths, total=len(paths), what="Heat maps"), start=1):
            try:
                written += self._write_one(path, f"{number:0{digits}d}-{path.stem}")
            except UnreadableImage:
                continue
        rundir.write_manifest(self.folder, {"kind": "heatmaps", "model": self.model.identifier, "pictures": written})
        return written

    def _write_one(self, path: Path, name: str) -> int:
        film = prepare_file(path, self.model.card)
        outputs = self.model.run(film[np.newaxis])
        index = chosen_class(self.model, self.model.probabilities(outputs["logits"])[0])
        class_name, method = self.model.classes[index], method_of(self.model)
        if not (self.untested or self.verdict(class_name).may_show):
            return 0
        one = map_of(self.model, film, outputs, index, method)
        part = self.card.of(class_name, method) if self.card else None
        large = prepare_file(path, display_card(self.model.card))
        stream = io.BytesIO()
        Image.fromarray(overlay(large, one, scale_of(one, part.scale if part else 0.0))).save(stream, format="PNG")
        rundir.write_bytes(self.folder / f"{name}-{class_name}.png", stream.getvalue())
        return 1
