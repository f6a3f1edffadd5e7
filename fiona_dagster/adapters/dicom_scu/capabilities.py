"""What a storage SCP would take of us, as far as negotiation tells: nothing is sent (PS3.8 section 7.1.1.13)."""

from __future__ import annotations

from dataclasses import dataclass

from fiona_dagster.adapters.dicom_scu.association import Association, Timeouts
from fiona_dagster.adapters.dicom_scu.transcoding import EXPLICIT, IMPLICIT
from fiona_dagster.domain.commitment import STORAGE_COMMITMENT
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.settings import DicomPeer

_STORAGE = "1.2.840.10008.5.1.4.1.1"
USUAL_CLASSES = {
    "CT": f"{_STORAGE}.2", "Enhanced CT": f"{_STORAGE}.2.1", "MR": f"{_STORAGE}.4", "Enhanced MR": f"{_STORAGE}.4.1",
    "CR": f"{_STORAGE}.1", "DX": f"{_STORAGE}.1.1", "mammography": f"{_STORAGE}.1.2", "US": f"{_STORAGE}.6.1",
    "US multi-frame": f"{_STORAGE}.3.1", "XA": f"{_STORAGE}.12.1", "PET": f"{_STORAGE}.128", "NM": f"{_STORAGE}.20",
    "Secondary Capture": f"{_STORAGE}.7", "SR": f"{_STORAGE}.88.33", "dose report": f"{_STORAGE}.88.67",
    "Key Object Selection": f"{_STORAGE}.88.59", "presentation states": f"{_STORAGE}.11.1",
    "Segmentation": f"{_STORAGE}.66.4",
}  # fmt: skip
USUAL_SYNTAXES = {
    "Explicit VR Little Endian": EXPLICIT, "Implicit VR Little Endian": IMPLICIT,
    "JPEG Lossless": "1.2.840.10008.1.2.4.70", "JPEG-LS Lossless": "1.2.840.10008.1.2.4.80",
    "JPEG 2000 Lossless": "1.2.840.10008.1.2.4.90", "RLE Lossless": "1.2.840.10008.1.2.5",
}  # fmt: skip
"""With the classes, and Storage Commitment, no more than the 128 contexts of one Association."""


@dataclass(frozen=True)
class Capabilities:
    """Names of `USUAL_CLASSES` and `USUAL_SYNTAXES` that were refused; a syntax, if it was for every class."""

    refused_classes: tuple[str, ...]
    refused_syntaxes: tuple[str, ...]
    commits: bool

    def __str__(self) -> str:
        taken = len(USUAL_CLASSES) - len(self.refused_classes)
        said = f"accepts {taken} of {len(USUAL_CLASSES)} usual kinds of images"
        if self.refused_classes:
            said += f" (REFUSES {', '.join(self.refused_classes)})"
        if self.refused_syntaxes:
            said += f", and what is in {', '.join(self.refused_syntaxes)} uncompressed"
        return said + (", offers Storage Commitment" if self.commits else ", offers no Storage Commitment")


def capabilities(peer: DicomPeer, calling: str, *, timeouts: Timeouts | None = None) -> Capabilities:
    """Open an Association that proposes the usual storage classes, look at what is accepted, and release it.

    Raises:
        Transient: it does not answer.
        Permanent: it rejects us, or accepts no images at all.
    """
    proposed: list[tuple[str, tuple[str, ...]]] = [
        (kind, (syntax,)) for kind in USUAL_CLASSES.values() for syntax in USUAL_SYNTAXES.values()
    ]
    proposed.append((STORAGE_COMMITMENT, (IMPLICIT, EXPLICIT)))
    with Association(peer, calling, proposed, timeouts or Timeouts()) as association:
        accepted = association.accepted
    classes, syntaxes = (
        {one for one, _ in accepted},
        {one for kind, one in accepted if kind != STORAGE_COMMITMENT},
    )
    refused = tuple(name for name, uid in USUAL_CLASSES.items() if uid not in classes)
    if len(refused) == len(USUAL_CLASSES):
        raise Permanent(f"{peer} accepts no images: ask its administrator to let {calling} store")
    return Capabilities(
        refused,
        tuple(name for name, uid in USUAL_SYNTAXES.items() if uid not in syntaxes),
        STORAGE_COMMITMENT in classes,
    )
