"""The result as a Comprehensive 3D SR: Measurement Report (TID 1500), one measurement group (TID 1501) a finding.

A group holds the finding's code, site and algorithm and its probability (122157, DCM). The qualitative evaluations
(TID 1500, rows 12 to 14) say what came of the whole (111017, DCM) and, for each finding, whether it is present, absent
or undetermined at the frozen threshold. A refusal is a report too: "No algorithms succeeded; without findings" (111245,
DCM) and the reason as a comment. Reports are complete, preliminary and unverified: nobody has confirmed them.
"""

from __future__ import annotations

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    Comprehensive3DSR,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes

from cxray.pacs.codes import PRIVATE_SCHEME, PRIVATE_SCHEME_NAME
from cxray.pacs.identity import Identity
from cxray.pacs.reading import Finding, Maker, Reading
from cxray.pacs.uids import derive_uid

_PRESENCE = {
    "present": codes.SCT.Present,
    "absent": codes.SCT.Absent,
    "undetermined": codes.SCT.Undetermined,
}
_SUMMARY = {
    "finding": codes.DCM.AllAlgorithmsSucceededWithFindings,
    "undetermined": codes.DCM.NotAllAlgorithmsSucceededWithoutFindings,
    "clear": codes.DCM.AllAlgorithmsSucceededWithoutFindings,
    "refused": codes.DCM.NoAlgorithmsSucceededWithoutFindings,
}
_CONTAINS = RelationshipTypeValues.CONTAINS
_RESEARCH_USE = "Research use only; not for diagnosis"


def structured_report(film: Dataset, reading: Reading, maker: Maker) -> Comprehensive3DSR:
    """The report on one film.

    Args:
        film: a repaired header, see `source.referable`.
        reading: findings or refusal.
        maker: who reports.
    """
    identity = Identity.of(film, maker, "sr")
    if reading.refusal is not None:
        groups = [_refusal_group(film, maker)]
    else:
        groups = [_finding_group(film, finding, maker) for finding in reading.findings]
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=_observer(maker)),
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    content[0].ContentSequence.append(_evaluations(reading))
    is_private = any(finding.code.is_private for finding in reading.findings)
    return Comprehensive3DSR(
        evidence=[film],
        content=content,
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description=f"{maker.name} report",
        coding_schemes=[_own_scheme()] if is_private else None,
        **identity.arguments(maker, reading.made),
    )


def _observer(maker: Maker) -> ObserverContext:
    return ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=derive_uid("device", maker.fingerprint),
            name=maker.name,
            manufacturer_name="cxray",
            model_name=f"{maker.name} {maker.identifier}",
            serial_number=maker.identifier,
        ),
    )


def _finding_group(film: Dataset, finding: Finding, maker: Maker) -> MeasurementsAndQualitativeEvaluations:
    threshold = "none" if finding.threshold is None else f"{finding.threshold:.6g}"
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(film, maker, finding.name),
        finding_type=_coded(finding),
        finding_sites=[FindingSite(codes.SCT.Lung)],
        algorithm_id=_algorithm(maker, f"threshold={threshold}"),
        measurements=[Measurement(codes.DCM.Probability, float(f"{finding.probability:.6g}"), codes.UCUM.NoUnits)],
        source_images=[SourceImageForMeasurementGroup.from_source_image(film)],
    )


def _refusal_group(film: Dataset, maker: Maker) -> MeasurementsAndQualitativeEvaluations:
    """What was to be assessed, and by what; there is nothing to measure."""
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(film, maker, "not assessed"),
        algorithm_id=_algorithm(maker),
        source_images=[SourceImageForMeasurementGroup.from_source_image(film)],
    )


def _evaluations(reading: Reading) -> ContainerContentItem:
    # Row 12, which highdicom's template does not offer; inside the measurement groups the templates of 2022 know no
    # evaluations.
    container = ContainerContentItem(
        CodedConcept("C0034375", "UMLS", "Qualitative Evaluations"), relationship_type=_CONTAINS
    )
    rows: list[CodeContentItem | TextContentItem] = [
        CodeContentItem(codes.DCM.CADProcessingAndFindingsSummary, _SUMMARY[reading.outcome], _CONTAINS)
    ]
    rows += [CodeContentItem(_coded(finding), _PRESENCE[finding.presence], _CONTAINS) for finding in reading.findings]
    comment = reading.remark
    if reading.refusal is not None:
        comment = f"Not assessed ({reading.refusal.reason}): {reading.refusal.text}"
    if comment:
        rows.append(TextContentItem(codes.DCM.Comment, comment, _CONTAINS))
    container.ContentSequence = ContentSequence(rows)
    return container


def _coded(finding: Finding) -> CodedConcept:
    return CodedConcept(finding.code.value, finding.code.scheme, finding.code.meaning)


def _tracking(film: Dataset, maker: Maker, what: str) -> TrackingIdentifier:
    return TrackingIdentifier(
        uid=derive_uid(film.SOPInstanceUID, maker.fingerprint, "tracking", what),
        identifier=f"{maker.name}: {what}"[:64],
    )


def _algorithm(maker: Maker, *parameters: str) -> AlgorithmIdentification:
    return AlgorithmIdentification(
        name=maker.name,
        version=f"{maker.identifier} (cxray {maker.version})",
        parameters=[*parameters, _RESEARCH_USE],
    )


def _own_scheme() -> CodingSchemeIdentificationItem:
    return CodingSchemeIdentificationItem(PRIVATE_SCHEME, name=PRIVATE_SCHEME_NAME, responsible_organization="cxray")
