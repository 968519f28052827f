"""What a node speaks: the films that it accepts, in which encodings, and the results that it sends."""

from __future__ import annotations

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    ComputedRadiographyImageStorage,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

# For-processing films are taken, so that their sender gets a refusal with a reason instead of a silent gap.
FILM_CLASSES: tuple[UID, ...] = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
)
SECONDARY_CAPTURE: UID = SecondaryCaptureImageStorage
FILM_SYNTAXES: tuple[UID, ...] = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEGLosslessSV1,
    JPEGLossless,
    JPEGLSLossless,
    JPEG2000Lossless,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    RLELossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    JPEG2000,
    HTJ2K,
)
_CLASS = "1.2.840.10008.5.1.4.1.1."
RESULT_CLASSES: tuple[str, ...] = (_CLASS + "88.34", _CLASS + "7", _CLASS + "11.1")
RESULT_NAMES = {
    RESULT_CLASSES[0]: "Comprehensive 3D SR",
    RESULT_CLASSES[1]: "Secondary Capture",
    RESULT_CLASSES[2]: "GSPS",
}
RESULT_SYNTAXES: tuple[UID, ...] = (ExplicitVRLittleEndian,)
