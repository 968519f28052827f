"""From a spooled DICOM film to a reading: admission, pixels, model, map. The one place where the node meets the model.

A film that may not be judged becomes a refusal with its reason code, and so does one whose pixels cannot be decoded:
the sender gets an answer in every case. Only what no result could refer to, and our own results coming back, are
skipped.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom import Dataset

from cxray import __version__
from cxray.bundle import Bundle
from cxray.data.dicom import read_dicom
from cxray.data.prepare import as_model_input, fitted_box, prepare
from cxray.errors import CxrayError, RefusedFilm, UnreadableImage
from cxray.explain.attribution import CLASS_ACTIVATION, class_activation
from cxray.explain.card import load_card
from cxray.explain.grid import upsample
from cxray.explain.opened import OpenedModel, from_predictor
from cxray.pacs.codes import FindingCodes, finding_codes
from cxray.pacs.reading import Finding, Maker, Reading, Refusal
from cxray.pacs.source import check_identifiers, is_own_output
from cxray.records import PixelImage
from cxray.runtime.gate import INSIDE, NOT_RADIOGRAPH
from cxray.runtime.predict import Predictor

# Raised when results say something else for the same film, model and codes: they then get new UIDs.
RESULTS_VERSION = "2"


class SkippedFilm(CxrayError):
    """Nothing can or should be said about this object; `reason` is a code."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The object is passed over ({reason}).")
        self.reason = reason


@dataclasses.dataclass(frozen=True, eq=False)
class Assessor:
    """A model with its codes, ready to assess films. `accept` waives admission codes, as for `read_dicom`; `maps` are
    the classes whose maps passed their tests, so that an area may be drawn."""

    predictor: Predictor
    model: OpenedModel
    codes: FindingCodes
    maker: Maker
    accept: Collection[str] | None = None
    maps: frozenset[str] = frozenset()

    @classmethod
    def open(
        cls, bundle: Path, *, codes: str = "", engine: str = "auto", accept: Collection[str] | None = None
    ) -> Assessor:
        """Load and verify a bundle.

        Raises:
            BundleError, UsageError: as `Predictor.open`; or the attribution card is damaged.
            ConfigError: as `finding_codes`.
        """
        predictor = Predictor.open(bundle, engine)
        known = predictor.bundle
        table = finding_codes(known, codes)
        return cls(predictor, from_predictor(predictor), table, maker_of(known, table), accept, tested_maps(known))

    def assess(self, path: Path) -> tuple[Dataset, Reading]:
        """The header of a film, as received and without pixels, and what the model makes of it.

        Raises:
            SkippedFilm: no DICOM, our own result, or without valid UIDs.
        """
        film = read_header(path)
        now = datetime.datetime.now()
        try:
            image = read_dicom(path, name=_NAME, accept=self.accept)
            prepared = prepare(image, self.predictor.bundle.card, name=_NAME)[np.newaxis]
        except UnreadableImage as error:
            return film, Reading((), now, refusal=_refusal(error))
        outputs = dict(self.predictor.engine.run(as_model_input(prepared)))
        row = self.predictor.bundle.probabilities(outputs["logits"])[0]
        if not np.isfinite(row).all():
            return film, Reading((), now, refusal=Refusal("no-score", "The model gave no number for this film."))
        picture = np.asarray(np.rint(np.clip(image.pixels, 0, 1) * 255), dtype=np.uint8)
        answer, remark = self._gate(outputs, prepared)
        if answer == NOT_RADIOGRAPH:
            return film, Reading((), now, refusal=Refusal("not-radiograph", remark), picture=picture)
        findings = self._findings(row, is_inside=answer == INSIDE)
        area, name = self._activation(image, outputs, findings)
        return film, Reading(findings, now, picture=picture, activation=area, activation_of=name, remark=remark)

    def _gate(self, outputs: dict[str, npt.NDArray[Any]], prepared: npt.NDArray[np.uint8]) -> tuple[str, str]:
        """The input gate's answer and sentence; a bundle without a gate lets everything in."""
        if self.predictor.gate is None:
            return INSIDE, ""
        verdict = self.predictor.gate.judge(outputs["features"], prepared)[0]
        return verdict.answer, verdict.reason

    def _findings(self, row: npt.NDArray[np.float64], *, is_inside: bool) -> tuple[Finding, ...]:
        """The findings; outside the gate the thresholds mean nothing, so nothing is decided there."""
        bundle = self.predictor.bundle
        decided = set(bundle.decide(row[np.newaxis])[0].split("|"))
        findings = []
        for name, code in self.codes.codes.items():
            point = bundle.thresholds.get(name)
            is_decided = is_inside and (bundle.task == "classes" or point is not None)
            presence = ("present" if name in decided else "absent") if is_decided else "undetermined"
            probability = float(row[bundle.classes.index(name)])
            findings.append(Finding(name, code, probability, presence, None if point is None else point.value))
        return tuple(findings)

    def _activation(
        self, image: PixelImage, outputs: dict[str, npt.NDArray[Any]], findings: tuple[Finding, ...]
    ) -> tuple[npt.NDArray[np.float32] | None, str]:
        """The area that speaks for the strongest present finding, 0–1 over the film, and the finding's meaning; none
        when the maps of that finding were not tested or failed."""
        present = [finding for finding in findings if finding.presence == "present"]
        if not present or self.model.head is None:
            return None, ""
        strongest = max(present, key=lambda finding: finding.probability)
        if strongest.name not in self.maps:
            return None, ""
        index = self.predictor.bundle.classes.index(strongest.name)
        attribution = class_activation(self.model, outputs, index)[0]
        if attribution.is_flat or attribution.values.max() <= 0:
            return None, ""
        card = self.predictor.bundle.card
        large = upsample(np.clip(attribution.values, 0, None), card.height, card.width)
        top, left, height, width = fitted_box(image, card)
        area = large[top : top + height, left : left + width]
        return (area / area.max(), strongest.code.meaning) if area.max() > 0 else (None, "")


def read_header(path: Path) -> Dataset:
    """A film's header without pixels.

    Raises:
        SkippedFilm: no DICOM, our own result, or without valid UIDs.
    """
    try:
        film = pydicom.dcmread(path, stop_before_pixels=True)
        if is_own_output(film):
            raise SkippedFilm("own-result")
        check_identifiers(film)
    except SkippedFilm:
        raise
    except UnreadableImage as error:
        raise SkippedFilm("no-valid-uid") from error
    except Exception as error:  # parsers of foreign bytes raise anything; the text may quote the patient
        raise SkippedFilm("not-dicom") from error
    return film


def tested_maps(bundle: Bundle) -> frozenset[str]:
    """The classes whose class activation maps passed every deciding test of the bundle's attribution card.

    Raises:
        BundleError: the card is damaged or belongs to another graph.
    """
    card = load_card(bundle.folder, bundle.identifier)
    if card is None:
        return frozenset()
    return frozenset(name for name in bundle.classes if card.verdict(name, CLASS_ACTIVATION).may_show)


def maker_of(bundle: Bundle, codes: FindingCodes) -> Maker:
    """Who reports with this bundle under these codes."""
    thresholds = {name: point.value for name, point in sorted(bundle.thresholds.items())}
    drawn = sorted(tested_maps(bundle))
    decisive = [bundle.facts["files"], bundle.facts.get("gate"), thresholds, codes.fingerprint, drawn, RESULTS_VERSION]
    parts = json.dumps(decisive, sort_keys=True)
    return Maker(
        name=str(bundle.facts.get("name", "model")),
        identifier=bundle.identifier,
        version=__version__,
        fingerprint=hashlib.sha256(parts.encode()).hexdigest(),
    )


_NAME = "The film"


def _refusal(error: UnreadableImage) -> Refusal:
    if isinstance(error, RefusedFilm) and error.reason:
        # "The film is refused (lateral-view): it is a lateral view." The rule's own sentence, which names no patient.
        sentence = error.message.partition("): ")[2] or "it may not be judged."
        return Refusal(error.reason, sentence[0].upper() + sentence[1:])
    return Refusal("unreadable", "The pixels could not be decoded.")
