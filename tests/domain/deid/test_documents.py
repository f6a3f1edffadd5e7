from __future__ import annotations

import struct
from collections.abc import Callable
from io import BytesIO

import pytest
from pypdf import PdfReader, PdfWriter
from pypdf.generic import (
    ArrayObject,
    DecodedStreamObject,
    DictionaryObject,
    FloatObject,
    NameObject,
    TextStringObject,
)

from fiona_dagster.domain.deid import documents
from fiona_dagster.domain.deid.documents import clean_document, is_made_anew
from fiona_dagster.domain.deid.free_text import FreeText
from fiona_dagster.domain.errors import Hold

ACTIVE = "the PDF has attachments or scripts"
NAMED = "the encapsulated document shows a value that identifies"
LIKE = "the encapsulated document shows what looks like an identifier, a date or an address"
PDF, CDA = "application/pdf", "text/xml"
CLEANED = FreeText().clean
TEXT = b"BT /F 12 Tf 72 700 Td (Kidney \\(right\\) 12.5 mm) Tj 0 -14 Td [(No find) -20 (ings.)] TJ ET"


def names_zwingenberger(text: str) -> bool:
    return "zwingenberger" in text.lower()


def held(value: bytes, mime: str, is_identifying: Callable[[str], bool] | None = names_zwingenberger) -> str:
    with pytest.raises(Hold) as caught:
        clean_document(value, mime, is_identifying, CLEANED)
    assert "zwingenberger" not in caught.value.reason.lower()
    return caught.value.reason


def stream(content: bytes, **entries: object) -> DecodedStreamObject:
    made = DecodedStreamObject()
    made.set_data(content)
    made.update({NameObject(f"/{key}"): value for key, value in entries.items()})
    return made


def named(**entries: object) -> DictionaryObject:
    return DictionaryObject({NameObject(f"/{key}"): value for key, value in entries.items()})


def font(**entries: object) -> DictionaryObject:
    return named(
        Type=NameObject("/Font"), Subtype=NameObject("/Type1"), BaseFont=NameObject("/Helvetica"),
        Encoding=NameObject("/WinAnsiEncoding"), **entries,
    )  # fmt: skip


def pdf(
    content: bytes = TEXT,
    change: Callable[[PdfWriter], None] | None = None,
    xobject: DecodedStreamObject | None = None,
) -> bytes:
    """One page, with an author and XMP metadata."""
    writer = PdfWriter()
    page = writer.add_blank_page(595, 842)
    resources = named(Font=named(F=font()))
    if xobject is not None:
        resources[NameObject("/XObject")] = named(X=writer._add_object(xobject))
    page[NameObject("/Contents")] = writer._add_object(stream(content))
    page[NameObject("/Resources")] = resources
    writer.add_metadata({"/Author": "Zwingenberger", "/Title": "Zwingenberger"})
    xmp = stream(b"<x>Zwingenberger</x>", Type=NameObject("/Metadata"), Subtype=NameObject("/XML"))
    writer.root_object[NameObject("/Metadata")] = writer._add_object(xmp)
    writer.add_outline_item("Zwingenberger", 0)
    if change is not None:
        change(writer)
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def form(content: bytes = b"BT /F 9 Tf 5 7 Td (in a form) Tj ET") -> DecodedStreamObject:
    box = ArrayObject([FloatObject(number) for number in (0, 0, 100, 100)])
    return stream(
        content, Type=NameObject("/XObject"), Subtype=NameObject("/Form"), BBox=box,
        Resources=named(Font=named(F=font())),
    )  # fmt: skip


def test_a_pdf_is_set_anew_with_its_text_at_its_places_and_nothing_else() -> None:
    document = clean_document(pdf(), PDF, names_zwingenberger, CLEANED)
    assert b"zwingenberger" not in document.value.lower()
    reader = PdfReader(BytesIO(document.value), strict=True)
    assert reader.metadata is None
    assert reader.outline == []
    assert reader.pages[0].extract_text() == "Kidney (right) 12.5 mm\nNo findings."
    assert list(reader.pages[0].mediabox) == [0, 0, 595, 842]
    assert b"1 0 0 1 72 686 Tm (No findings.) Tj" in document.value
    assert document.texts[0] == "Kidney (right) 12.5 mm\nNo findings."
    assert clean_document(pdf(), PDF, None, CLEANED) == document
    assert is_made_anew(document.value, PDF, names_zwingenberger, CLEANED)
    assert not is_made_anew(pdf(), PDF, names_zwingenberger, CLEANED)
    assert not is_made_anew(document.value + b"Zwingenberger", PDF, None, CLEANED)
    assert not is_made_anew(document.value, PDF, lambda text: "findings" in text, CLEANED)


def test_text_of_forms_and_letters_beyond_ascii_come_along() -> None:
    content = "BT /F 12 Tf 72 700 Td (Høyre nyre 5 µg) Tj ET q 1 0 0 1 100 200 cm /X Do Q".encode("cp1252")
    document = clean_document(pdf(content, xobject=form()), PDF, names_zwingenberger, CLEANED)
    assert "Høyre nyre 5 µg" in document.texts[0]
    assert b"1 0 0 1 105 207 Tm (in a form) Tj" in document.value


def test_rules_and_boxes_are_left_out() -> None:
    document = clean_document(
        pdf(b"10 10 100 1 re f 10 20 m 90 20 l S " + TEXT), PDF, names_zwingenberger, CLEANED
    )
    assert b" re" not in document.value
    assert b"72 700 Tm" in document.value


@pytest.mark.parametrize(
    "content",
    [
        b"BT /F 12 Tf 72 700 Td (Mr Zwingenberger) Tj ET",
        b"BT /F 12 Tf 72 700 Td [(Zwin) -30 (gen) 10 (berger)] TJ ET",
        b"BT /F 12 Tf 72 700 Td (Z) Tj 9 0 Td (wingen) Tj 50 0 Td (berger) Tj ET",
        b"BT /F 12 Tf 3 Tr 72 700 Td (Zwingenberger) Tj ET",
        b"BT /F 12 Tf 72 -700 Td (Zwingenberger) Tj ET",
    ],
    ids=["plain", "kerned", "in pieces", "invisible", "outside the page"],
)
def test_a_pdf_that_names_the_patient_is_held(content: bytes) -> None:
    assert held(pdf(content), PDF) == NAMED


def test_a_pdf_with_what_looks_like_an_identifier_is_held() -> None:
    content = b"BT /F 12 Tf 72 700 Td (Call someone@example.org) Tj ET"
    assert held(pdf(content), PDF, None) == LIKE


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"BT /F 12 Tf 72 700 Td (Normal head by Hallgerdurson) Tj ET", "Normal head by ..."),
        (b"BT /F 12 Tf 72 700 Td (Hallgerdurson) Tj 0 -20 Td (Normal) Tj ET", "...\nNormal"),
        (b"BT /F 9 Tf 72 700 Td (Head) Tj ET BT /F 9 Tf 95 700 Td (leysson) Tj ET", "..."),
        (b"BT /F 9 Tf 72 700 Td (Kidney) Tj ET BT /F 9 Tf 300 700 Td (normal) Tj ET", "Kidney normal"),
        (b"BT /F 9 Tf 72 700 Td (H) Tj 0 -9 Td (A) Tj 0 -9 Td (L) Tj ET", "...\n...\n..."),
    ],
    ids=["in a line", "alone", "in pieces", "columns", "downwards"],
)
def test_a_pdf_shows_no_word_that_is_not_known(content: bytes, shown: str) -> None:
    document = clean_document(pdf(content), PDF, None, CLEANED)
    text = PdfReader(BytesIO(document.value)).pages[0].extract_text()
    assert [line.split() for line in text.splitlines()] == [line.split() for line in shown.splitlines()]
    assert is_made_anew(document.value, PDF, None, CLEANED)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("Normal head by Hallgerdurson", "<paragraph>Normal head by ...<"),
        ("Head<content>leysson</content> normal", "<paragraph>... normal &lt;12 mm<content/><"),
        ("<content>Normal</content> head", "<content>Normal</content> head<"),
    ],
)
def test_a_cda_document_has_no_word_that_is_not_known(body: str, shown: str) -> None:
    value = cda(body).replace(b"Nodule size", b"Hallgerdurson").replace(b'unit="mm"', b'unit="Hallgerdurson"')
    document = clean_document(
        value.replace(b"<title>Findings", b"<title>Findings by Eisenbarth"), CDA, None, CLEANED
    )
    text = document.value.decode()
    assert shown in text
    assert "Hallgerdurson" not in text
    assert "<title>Findings by ...</title>" in text
    assert is_made_anew(document.value, CDA, None, CLEANED)


def _annotated(writer: PdfWriter) -> None:
    note = named(
        Type=NameObject("/Annot"), Subtype=NameObject("/Text"), Contents=TextStringObject("Zwingenberger")
    )
    writer.pages[0][NameObject("/Annots")] = ArrayObject([writer._add_object(note)])


def _attachment(writer: PdfWriter) -> None:
    writer.add_attachment("a.txt", b"Zwingenberger")


def _script(writer: PdfWriter) -> None:
    action = named(S=NameObject("/JavaScript"), JS=TextStringObject("app.alert('Zwingenberger')"))
    writer.root_object[NameObject("/OpenAction")] = action


def _form_field(writer: PdfWriter) -> None:
    field = named(FT=NameObject("/Tx"), T=TextStringObject("name"), V=TextStringObject("Zwingenberger"))
    writer.root_object[NameObject("/AcroForm")] = named(Fields=ArrayObject([writer._add_object(field)]))


def _image() -> DecodedStreamObject:
    return stream(b"\0" * 4, Type=NameObject("/XObject"), Subtype=NameObject("/Image"))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (pdf(change=lambda writer: writer.encrypt("", "owner")), "the PDF is encrypted"),
        (pdf(change=_attachment), ACTIVE),
        (pdf(change=_script), ACTIVE),
        (pdf(change=_annotated), "the PDF has annotations"),
        (pdf(change=_form_field), "the PDF is a form"),
        (pdf(b"q /X Do Q " + TEXT, xobject=_image()), "the PDF has images"),
        (pdf(b"BI /W 1 /H 1 /BPC 8 /CS /G ID \x00 EI " + TEXT), "the PDF has images"),
        (pdf(b"0 0 m 1 1 2 2 3 3 c S " + TEXT), "the PDF has drawings"),
        (pdf(b"0 0 m 30 40 l S " + TEXT), "the PDF has drawings"),
        (pdf(b"1 1 2 2 re f " * 1001 + TEXT), "the PDF has drawings"),
        (pdf(b"BT /F 9 Tf 90 700 Td (berger) Tj -18 0 Td (Zwingen) Tj ET"), "the PDF sets its text out of order"),
        (pdf(b"0 0 9 9 re f"), "the PDF has no text that could be searched"),
        (pdf(b"q Q " * 110_000 + TEXT), "the PDF is too large to be searched"),
        (pdf()[:300], "the PDF cannot be read"),
        (b"no PDF", "the PDF cannot be read"),
        (b"", "the PDF cannot be read"),
    ],
    ids=["encrypted", "attachment", "script", "annotation", "field", "image", "inline image", "curve", "slanted line",
         "many boxes", "out of order", "no text", "many operations", "cut", "something else", "empty"],
)  # fmt: skip
def test_a_pdf_that_has_more_than_searched_text_is_held(value: bytes, reason: str) -> None:
    assert held(value, PDF) == reason


def test_a_form_that_holds_itself_ends() -> None:
    made = form(b"/X Do")

    def tie(writer: PdfWriter) -> None:
        resources = writer.pages[0]["/Resources"]
        inner = resources["/XObject"].raw_get("/X").get_object()
        inner["/Resources"][NameObject("/XObject")] = named(X=resources["/XObject"].raw_get("/X"))

    assert held(pdf(b"/X Do " + TEXT, tie, made), PDF) == "the PDF is nested too deeply to be searched"


CLINICAL = """<?xml version="1.0"?>
<!-- Zwingenberger -->
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:x="urn:other">
 <typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
 <templateId root="1.2.840.10008.9.1"/>
 <id root="1.2.826.0.1.3680043.99.5" extension="77112233"/>
 <code code="18748-4" codeSystem="2.16.840.1.113883.6.1" displayName="Diagnostic Imaging Report"/>
 <title>Report on Zwingenberger</title>
 <effectiveTime value="20191224101112"/>
 <confidentialityCode code="N" codeSystem="2.16.840.1.113883.5.25"/>
 <recordTarget><patientRole><id extension="77112233"/><addr>Quellgasse 5</addr>
  <patient><name><family>Zwingenberger</family></name><birthTime value="19610203"/></patient>
  </patientRole></recordTarget>
 <author><time value="20191224"/><assignedAuthor><id extension="9"/><assignedPerson><name>Eisenbarth</name>
  </assignedPerson></assignedAuthor></author>
 <custodian><assignedCustodian><representedCustodianOrganization><id/><name>Waldklinik</name>
  </representedCustodianOrganization></assignedCustodian></custodian>
 <legalAuthenticator><assignedEntity><assignedPerson><name>Eisenbarth</name></assignedPerson></assignedEntity>
 </legalAuthenticator>
 <x:anything>Zwingenberger</x:anything>
 <component><structuredBody><component><section>
  <id extension="77112233"/><title>Findings</title>
  <text><paragraph ID="Zwingenberger">BODY<content styleCode="Bold"> &lt;12 mm</content></paragraph></text>
  <author><assignedAuthor><assignedPerson><name>Eisenbarth</name></assignedPerson></assignedAuthor></author>
  <entry><observation classCode="OBS" moodCode="EVN"><id extension="77112233"/>
   <code code="246120007" codeSystem="2.16.840.1.113883.6.96" displayName="Nodule size"/>
   <effectiveTime value="20191224"/><value xsi:type="PQ" value="12.5" unit="mm"/>
   <performer><assignedEntity><id/></assignedEntity></performer></observation></entry>
 </section></component></structuredBody></component>
</ClinicalDocument>"""
ENTITY = b'<!DOCTYPE a [<!ENTITY b "Zwingenberger">]>'
GONE = (
    "Zwingenberger",
    "77112233",
    "Quellgasse",
    "19610203",
    "20191224",
    "Eisenbarth",
    "Waldklinik",
    "3680043",
)


def cda(body: str = "A nodule") -> bytes:
    return CLINICAL.replace("BODY", body).encode()


def test_a_cda_document_keeps_codes_measurements_and_narrative_and_names_nobody() -> None:
    document = clean_document(cda(), CDA, names_zwingenberger, CLEANED)
    text = document.value.decode()
    assert [word for word in GONE if word in text] == []
    for kept in (
        '<typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>',
        '<paragraph>A nodule<content styleCode="Bold"> &lt;12 mm</content></paragraph>',
        '<value xsi:type="PQ" value="12.5" unit="mm"/>',
        'displayName="Nodule size"',
        "<title>Findings</title>",
        '<recordTarget><patientRole><id nullFlavor="MSK"/></patientRole></recordTarget>',
    ):
        assert kept in text
    assert "A nodule" in document.texts
    assert clean_document(cda(), CDA, names_zwingenberger, CLEANED) == document
    assert is_made_anew(document.value, CDA, names_zwingenberger, CLEANED)
    assert not is_made_anew(cda(), CDA, names_zwingenberger, CLEANED)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (cda("Zwingenberger has"), NAMED),
        (cda("Zwingen<content>berger</content> has"), NAMED),
        (cda("Zwingen&#98;erger has"), NAMED),
        (cda("write to a.b@example.org"), LIKE),
        (cda("<renderMultiMedia referencedObject='M1'/>"), "the CDA document has embedded content"),
        (ENTITY + cda().partition(b"\n")[2], "the XML document declares a document type"),
        (cda("<x>" * 200 + "</x>" * 200), "the XML document is too large to be searched"),
        (cda()[:-5], "the XML document cannot be read"),
        (b"<html/>", "the encapsulated document is no CDA document"),
        (b"", "the XML document cannot be read"),
        (b'<ClinicalDocument xmlns="urn:hl7-org:v3"/>', "the CDA document has no text that could be searched"),
        (cda().replace(b"structuredBody", b"nonXMLBody"), "the CDA document has embedded content"),
    ],
    ids=["name", "name in pieces", "name by reference", "pattern", "media", "entity", "depth", "cut", "other",
         "empty", "nothing", "embedded"],
)  # fmt: skip
def test_a_cda_document_that_cannot_be_proven_clean_is_held(value: bytes, reason: str) -> None:
    assert held(value, CDA) == reason


TRIANGLE = struct.pack("<12f", *range(12))


def test_an_stl_keeps_its_triangles_and_loses_header_and_attributes() -> None:
    value = b"solid Zwingenberger".ljust(80) + struct.pack("<I", 2) + (TRIANGLE + b"ZW") * 2
    document = clean_document(value, "model/stl", names_zwingenberger, CLEANED)
    assert document.value == bytes(80) + struct.pack("<I", 2) + (TRIANGLE + b"\0\0") * 2


def test_models_as_text_keep_their_numbers_and_lose_their_names() -> None:
    solid = (
        b"solid Zwingenberger\n facet normal 0 0 1\n outer loop\n vertex 0 0 0\n vertex 1 0 0\n vertex 0 1 0.5\n"
        b" endloop\n endfacet\nendsolid Zwingenberger\n"
    )
    document = clean_document(solid, "model/stl", names_zwingenberger, CLEANED)
    assert document.value.startswith(b"solid\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\n")
    assert b"vertex 0 1 0.5\n" in document.value
    wavefront = (
        b"# by Zwingenberger\nmtllib Zwingenberger.mtl\no Zwingenberger\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvn 0 0 1\n"
        b"usemtl skin\nf 1//1 2//1 3//1\n"
    )
    document = clean_document(wavefront, "model/obj", names_zwingenberger, CLEANED)
    assert document.value == b"v 0 0 0\nv 1 0 0\nv 0 1 0\nvn 0 0 1\nf 1//1 2//1 3//1\n"
    document = clean_document(
        b"newmtl Zwingenberger\nKd 0.5 0.5 0.5\nillum 2\n\0", "model/mtl", names_zwingenberger, CLEANED
    )
    assert document.value == b"newmtl material1\nKd 0.5 0.5 0.5\nillum 2\n"


@pytest.mark.parametrize(
    ("value", "mime"),
    [
        (b"solid a\nZwingenberger\nendsolid", "model/stl"),
        (b"solid a\nvertex 1 2 nan\nendsolid", "model/stl"),
        (b"x" * 100, "model/stl"),
        (b"", "model/stl"),
        (b"v 0 0 Zwingenberger", "model/obj"),
        (b"call Zwingenberger.obj", "model/obj"),
        (b"f 1/2/3/4 1 2", "model/obj"),
        (b"newmtl a\nmap_Kd Zwingenberger.png", "model/mtl"),
        (b"\xff\xfe", "model/obj"),
    ],
)
def test_a_model_with_anything_else_is_held(value: bytes, mime: str) -> None:
    assert held(value, mime) == "the 3D model has something else than geometry"


def test_other_kinds_and_very_large_documents_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no tested handler" in held(b"Zwingenberger", "application/msword")
    assert "no tested handler" in held(pdf(), "")
    monkeypatch.setattr(documents, "LARGEST", 10)
    assert "too large" in held(pdf(), PDF)
