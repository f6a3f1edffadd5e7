"""Encapsulated documents and models, with identifiers around them."""

from __future__ import annotations

from functools import partial

from pydicom.dataset import FileDataset

from tests.domain.deid.objects import DAY, MOMENT, TEXT, Build, code, reference
from tests.domain.deid.test_documents import cda, pdf

MATERIAL = b"# PLANTED\nnewmtl PLANTED\nKd 0.5 0.5 0.5\n"
WAVEFRONT = b"# PLANTED\no PLANTED\nv 0 0 0\nv 1 0 0\nv 0 1 0.25\nf 1 2 3\n"
SOLID = (
    b"solid PLANTED\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0.25\nendloop\n"
    b"endfacet\nendsolid PLANTED\n"
)


def document(made: FileDataset, content: bytes, mime: str) -> tuple[str, ...]:
    made.DocumentTitle, made.ContentDate, made.BurnedInAnnotation = TEXT, DAY, "NO"
    made.ConceptNameCodeSequence, made.HL7InstanceIdentifier = [code()], "1.2.826.0.1.3680043.99.5^77112233"
    made.VerificationFlag, made.MIMETypeOfEncapsulatedDocument = "VERIFIED", mime
    made.EncapsulatedDocumentLength = len(content)
    made.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    made.SourceInstanceSequence = [reference()]
    made.PredecessorDocumentsSequence = []
    made.AcquisitionDateTime, made.ModelModification = MOMENT, "NO"
    made.MeasurementUnitsCodeSequence = [code("mm", "millimeter", "UCUM")]
    return ("MIMETypeOfEncapsulatedDocument", "CodeValue", "CodeMeaning", "VerificationFlag")


FAMILIES: dict[str, tuple[str, Build]] = {
    "104.1": ("DOC", partial(document, content=pdf(), mime="application/pdf")),
    "104.2": ("DOC", partial(document, content=cda(), mime="text/xml")),
    "104.3": ("M3D", partial(document, content=SOLID, mime="model/stl")),
    "104.4": ("M3D", partial(document, content=WAVEFRONT, mime="model/obj")),
    "104.5": ("M3D", partial(document, content=MATERIAL, mime="model/mtl")),
}
