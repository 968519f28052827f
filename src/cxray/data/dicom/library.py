"""The one place where pydicom is loaded: checked, silent, with our own decoder for the JPEG family.

Silent, because pydicom's warnings and log lines quote what they complain about, and that may be a name or a date of
birth. Decoders are always called by name (`cxray.data.dicom.stored`), so one that merely happens to be installed is
never used; `refuse_unsafe_decoders` is for programs that read strangers' files.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import threading
import warnings

from cxray import extras
from cxray.errors import UsageError

FEATURE = "Reading DICOM"
EXTRA = "dicom"
ALLOW_UNSAFE = "CXRAY_ALLOW_UNSAFE_DECODERS"
# GDCM 3.2 ends the process on damaged JPEG and JPEG 2000 streams; pylibjpeg-rle panics in a way that `except
# Exception` does not see; pydicom would prefer both to the sound ones when it may choose.
_UNSAFE = {"gdcm": "python-gdcm", "rle": "pylibjpeg-rle"}
_CHATTY = ("pydicom", "pylibjpeg", "openjpeg", "jpeg_ls", "imagecodecs")
_lock = threading.Lock()


def load() -> None:
    """Make pydicom ready for use; call it before any `import pydicom`.

    Raises:
        MissingExtra: pydicom or one of the decoders is not installed.
    """
    with _lock:
        _load_once()
        _hide_warnings()


def is_installed() -> bool:
    """Whether DICOM can be read here at all, without importing anything."""
    return all(extras.is_available(name) for name in ("pydicom", "imagecodecs", "jpeg_ls", "openjpeg", "pylibjpeg"))


def refuse_unsafe_decoders() -> None:
    """Refuse to start where a decoder is installed that strangers' files can crash, unless it is allowed on purpose.

    Raises:
        UsageError: such a decoder can be imported and `CXRAY_ALLOW_UNSAFE_DECODERS=1` is not set.
    """
    found = [package for module, package in _UNSAFE.items() if extras.is_available(module)]
    if found and os.environ.get(ALLOW_UNSAFE) != "1":
        raise UsageError(
            f"{' and '.join(found)} can be imported here; damaged files from strangers can end a process that uses it.",
            f"Uninstall it (pip uninstall {' '.join(found)}), or set {ALLOW_UNSAFE}=1.",
        )


@functools.cache
def _load_once() -> None:
    for module in ("imagecodecs", "jpeg_ls", "openjpeg", "pylibjpeg"):
        extras.require(module, EXTRA, FEATURE)
    pydicom_config = extras.require("pydicom.config", EXTRA, FEATURE)
    # Never to be complained about: what is wrong with a value is ours to judge, value by value.
    pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE
    for name in _CHATTY:
        logger = logging.getLogger(name)
        if logger.level != logging.DEBUG:  # pydicom.config.debug() is a wish to see values
            logger.setLevel(logging.CRITICAL + 1)
    _register_jpeg_decoder()


def _register_jpeg_decoder() -> None:
    from pydicom.pixels.decoders.base import get_decoder

    from cxray.data.dicom import jpeg_decoder

    for syntax in jpeg_decoder.DECODER_DEPENDENCIES:
        decoder = get_decoder(syntax)
        if jpeg_decoder.LABEL not in decoder.available_plugins:
            decoder.add_plugin(jpeg_decoder.LABEL, (jpeg_decoder.__name__, "decode_frame"))


def _hide_warnings() -> None:
    """Drop pydicom's warnings, whatever has been done to the filters since the last call."""
    ours = ("ignore", None, Warning, re.compile(r"(pydicom|pylibjpeg|openjpeg|jpeg_ls)(\..*)?$"), 0)
    if ours not in warnings.filters:
        warnings.filterwarnings("ignore", module=ours[3].pattern)
