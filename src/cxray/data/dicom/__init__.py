"""DICOM films: header, admission, pixels, patients, de-identification. Needs the extra `dicom`, from first use on.

`read_dicom` gives pixels, `headers` everything else; both take a path or bytes and log nothing. Importing this room
imports no DICOM library.
"""

from cxray.data.dicom.header import OWN_MANUFACTURER, FilmHeader, PatientModule, headers
from cxray.data.dicom.library import refuse_unsafe_decoders
from cxray.data.dicom.read import read_dicom, read_unwindowed

__all__ = [
    "OWN_MANUFACTURER",
    "FilmHeader",
    "PatientModule",
    "headers",
    "read_dicom",
    "read_unwindowed",
    "refuse_unsafe_decoders",
]
