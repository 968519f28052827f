"""From a reading to the DICOM objects that go back: report, overlay and, where there is an area to show, outline."""

from __future__ import annotations

from pydicom import Dataset

from cxray.pacs.identity import KINDS
from cxray.pacs.presentation_state import presentation_state
from cxray.pacs.reading import Maker, Reading
from cxray.pacs.secondary_capture import secondary_capture
from cxray.pacs.source import copy_identity, referable
from cxray.pacs.structured_report import structured_report

_WRITERS = {"sr": structured_report, "sc": secondary_capture, "gsps": presentation_state}


def build_results(
    film: Dataset, reading: Reading, maker: Maker, *, kinds: tuple[str, ...] = KINDS
) -> dict[str, Dataset]:
    """The results on one film by kind: "sr", "sc", "gsps" (the last only for a present finding with an activation).

    Args:
        film: the film's header as received; its pixels are not needed.
        reading: findings or refusal.
        maker: who reports; its fingerprint goes into every UID.
        kinds: which of the three to write.

    Patient and study attributes and the character set are the film's own, value for value.
    """
    header = referable(film)
    results: dict[str, Dataset] = {}
    for kind in kinds:
        result = _WRITERS[kind](header, reading, maker)
        if result is not None:
            copy_identity(result, film)
            if kind != "sr":  # else Laterality would be required, which a chest does not have (PS3.3, C.7.3.1)
                result.BodyPartExamined = "CHEST"
            _date(result, reading)
            results[kind] = result
    return results


def _date(result: Dataset, reading: Reading) -> None:
    """Let every date of a result be that of the assessment, as the result may be written again later."""
    for name in ("InstanceCreation", "Content", "PresentationCreation"):
        if f"{name}Date" in result:
            setattr(result, f"{name}Date", reading.made.strftime("%Y%m%d"))
            setattr(result, f"{name}Time", reading.made.strftime("%H%M%S.%f"))
