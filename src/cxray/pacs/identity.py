"""What all results have in common: derived UIDs, series, equipment and times.

Results join the film's own study as new series, one series for each series of films, model and kind of result, so that
the many films of a series do not scatter theirs.
"""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

from pydicom import Dataset

from cxray.data.dicom import OWN_MANUFACTURER
from cxray.pacs.reading import Maker
from cxray.pacs.uids import derive_uid

# Far above what modalities use, so that results stand after the films in viewers that sort by number.
SERIES_NUMBERS = {"sr": 9101, "sc": 9102, "gsps": 9103}
KINDS = tuple(SERIES_NUMBERS)


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    """Who a result is: derived from film, model and kind, so that a second run makes the same one."""

    sop_instance_uid: str
    series_instance_uid: str
    series_number: int
    instance_number: int

    @classmethod
    def of(cls, film: Dataset, maker: Maker, kind: str) -> Identity:
        """The identity of the result of `kind` ("sr", "sc" or "gsps") on `film` by `maker`."""
        number = film.get("InstanceNumber", None)
        return cls(
            sop_instance_uid=derive_uid(film.SOPInstanceUID, maker.fingerprint, kind),
            series_instance_uid=derive_uid(film.SeriesInstanceUID, maker.fingerprint, kind, "series"),
            series_number=SERIES_NUMBERS[kind],
            instance_number=int(number) if number and int(number) > 0 else 1,
        )

    def arguments(self, maker: Maker, made: datetime.datetime) -> dict[str, Any]:
        """Keyword arguments that every writer of highdicom takes."""
        return {
            **dataclasses.asdict(self),
            "manufacturer": OWN_MANUFACTURER,
            "manufacturer_model_name": maker.name[:64],
            "software_versions": f"cxray {maker.version}",
            "device_serial_number": maker.identifier,
            "series_date": made.date(),
            "series_time": made.time(),
            "specific_character_set": None,
        }
