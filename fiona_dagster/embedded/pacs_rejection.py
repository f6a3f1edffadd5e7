"""Rejection notes at the archive of the hospital in a box: what they name is shown no more (IHE RAD TF-2 4.66)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
REJECTIONS = frozenset({"113001", "113037", "113038", "113039"})
"""Document Titles (PS3.16 CID 7010 and 7011) that reject: quality, patient safety, worklist entry, retention."""


def rejected_instances(data_set: Dataset) -> frozenset[str]:
    """SOP Instance UIDs that a Key Object Selection rejects; none where it is another document."""
    if str(data_set.get("SOPClassUID", "")) != KEY_OBJECT_SELECTION:
        return frozenset()
    titles = {str(one.get("CodeValue", "")) for one in data_set.get("ConceptNameCodeSequence") or ()}
    if not titles & REJECTIONS:
        return frozenset()
    return frozenset(
        str(sop.ReferencedSOPInstanceUID)
        for study in data_set.get("CurrentRequestedProcedureEvidenceSequence") or ()
        for series in study.get("ReferencedSeriesSequence") or ()
        for sop in series.get("ReferencedSOPSequence") or ()
    )
