"""An HL7 CDA document (Release 2) rebuilt from what is allowed to stay; its header names nobody any more.

Kept are codes, measurements and the narrative of sections, which is searched by `documents` and cleaned word by word.
People, places, dates and instance identifiers are left out by structure, or stand empty (`nullFlavor="MSK"`) where the
schema needs them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from fiona_dagster.domain.deid.documents import Cleaner, Document, clean_pieces
from fiona_dagster.domain.errors import Hold

HL7 = "urn:hl7-org:v3"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
MOST_NODES = 100_000
DEEPEST = 100
_MASKED = '<id nullFlavor="MSK"/>'
_PEOPLE = {
    "recordTarget": f"<patientRole>{_MASKED}</patientRole>",
    "author": f'<time nullFlavor="MSK"/><assignedAuthor>{_MASKED}</assignedAuthor>',
    "custodian": "<assignedCustodian><representedCustodianOrganization>"
    f"{_MASKED}</representedCustodianOrganization></assignedCustodian>",
}
"""Header parts that the schema needs, without anybody in them."""
_HEADER = frozenset(
    {"realmCode", "typeId", "templateId", "code", "confidentialityCode", "languageCode", "component"}
)
_NARRATIVE = frozenset(
    {
        "br", "caption", "col", "colgroup", "content", "footnote", "footnoteRef", "item", "list",
        "paragraph", "sub", "sup", "table", "tbody", "td", "text", "tfoot", "th", "thead", "tr",
    }
)  # fmt: skip
_INLINE = frozenset({"content", "footnoteRef", "sub", "sup"})
"""Elements inside of which a word may run on."""
_BODY = _NARRATIVE | frozenset(
    {
        "act", "code", "component", "denominator", "entry", "entryRelationship",
        "interpretationCode", "languageCode", "maxValue", "methodCode", "numerator", "observation",
        "observationRange", "organizer", "originalText", "priorityCode", "procedure", "qualifier",
        "realmCode", "referenceRange", "repeatNumber", "section", "sequenceNumber", "statusCode",
        "structuredBody", "targetSiteCode", "templateId", "title", "translation", "uncertaintyCode",
        "value",
    }
)  # fmt: skip
_HELD = frozenset({"nonXMLBody", "observationMedia", "renderMultiMedia"})
_ATTRIBUTES = {
    name: re.compile(pattern)
    for names, pattern in (
        ("code codeSystem codeSystemVersion", r"[\w.:/ -]{1,64}"),
        ("codeSystemName displayName", r"(?s).{1,400}"),
        ("value", r"[+-]?[0-9.]{1,20}(?:[eE][+-]?[0-9]{1,3})?|true|false"),
        ("unit", r"[^\s<>]{1,32}"),
        ("classCode moodCode typeCode nullFlavor styleCode listType border align valign operator", r"[\w.]{1,32}"),
        ("colspan rowspan width span", r"[0-9]{1,4}%?"),
        ("negationInd inversionInd contextConductionInd", r"true|false"),
    )
    for name in names.split()
}  # fmt: skip
"""Attributes that stay, where their whole value is of this form."""
_CODES = frozenset({"code", "codeSystem", "codeSystemVersion"})
_NAMES = frozenset({"codeSystemName", "displayName"})
"""Attributes with free text."""
_LONG_WORD = re.compile(r"[^\W\d_]{4,}")
_OF_THE_STANDARD = frozenset(
    {
        "aborted", "active", "arabic", "asku", "baseline", "battery", "bigalpha", "bigroman", "bold",
        "botrule", "bottom", "cancelled", "caus", "center", "char", "circle", "cluster", "comp", "completed",
        "cond", "disc", "docbody", "docclin", "docsect", "eivl", "emphasis", "false", "gevl", "glist", "held",
        "italics", "justify", "left", "littlealpha", "littleroman", "lrule", "mfst", "middle", "mmhg", "mmol",
        "nask", "ninf", "normal", "nullified", "obsolete", "ordered", "pinf", "pivl", "pocd", "proc", "real",
        "refr", "right", "rrule", "rson", "sbadm", "slist", "sply", "sprt", "square", "subj", "suspended",
        "sxcm", "toprule", "true", "underline", "unordered", "xcrpt",
    }
)  # fmt: skip
"""Words of four letters and more in codes, styles, data types and units of CDA R2."""
_OID = re.compile(r"[0-9]+(\.[0-9]+)+")
_VOCABULARY_ROOTS = frozenset({"templateId", "typeId"})


@dataclass
class _Node:
    name: str
    attributes: dict[str, str]
    parts: list[_Node | str] = field(default_factory=list)


@dataclass
class _Found:
    cleaned: Cleaner
    narrative: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)


def clean_cda(value: bytes, cleaned: Cleaner) -> Document:
    """The document rebuilt, with all texts as they were: first the narrative as a whole, then piece by piece.

    Raises:
        Hold: it is no CDA document, or has a body that is not structured.
    """
    root = _parsed(value)
    if root.name != f"{HL7}}}ClinicalDocument":
        raise Hold("the encapsulated document is no CDA document")
    found = _Found(cleaned)
    "".join(_header(root, found))
    if not found.narrative and not found.codes:
        raise Hold("the CDA document has no text that could be searched")
    _clean(root, cleaned, [])
    content = "".join(_header(root, _Found(cleaned)))
    out = f'<?xml version="1.0" encoding="UTF-8"?>\n<ClinicalDocument xmlns="{HL7}" xmlns:xsi="{_XSI}">{content}'
    texts = (" ".join(found.narrative), *found.narrative, *found.values)
    return Document(f"{out}</ClinicalDocument>".encode(), texts, tuple(found.codes))


def _clean(node: _Node, cleaned: Cleaner, line: list[tuple[_Node, int]]) -> None:
    """Cleans all text below `node`; `line` has the pieces in which a word may run on."""
    for number, part in enumerate(node.parts):
        if isinstance(part, str):
            line.append((node, number))
            continue
        inline = _local(part) in _INLINE
        if not inline:
            _clean_line(line, cleaned)
        _clean(part, cleaned, line)
        if not inline:
            _clean_line(line, cleaned)


def _clean_line(line: list[tuple[_Node, int]], cleaned: Cleaner) -> None:
    pieces = [str(node.parts[number]) for node, number in line]
    for (node, number), piece in zip(line, clean_pieces(pieces, cleaned), strict=True):
        node.parts[number] = piece
    line.clear()


def _header(root: _Node, found: _Found) -> Iterator[str]:
    dated = False
    for part in root.parts:
        name = _local(part)
        if name == "id":
            yield _MASKED
        elif name == "effectiveTime" and not dated:
            dated = True
            yield '<effectiveTime nullFlavor="MSK"/>'
        elif name in _PEOPLE:
            yield f"<{name}>{_PEOPLE[name]}</{name}>"
        elif name in _HEADER and isinstance(part, _Node):
            yield _rebuilt(part, name, found)


def _rebuilt(node: _Node, name: str, found: _Found) -> str:
    attributes = "".join(_attributes(node, name, found))
    inner = []
    for part in node.parts:
        if isinstance(part, str):
            inner.append(escape(part))
            found.narrative += [part] if part.strip() else []
            continue
        below = _local(part)
        if below in _HELD:
            raise Hold("the CDA document has embedded content")
        if below == "id" and name not in _NARRATIVE:
            inner.append(_MASKED)
        elif below in _BODY:
            inner.append(_rebuilt(part, below, found))
    return f"<{name}{attributes}>{''.join(inner)}</{name}>" if inner else f"<{name}{attributes}/>"


def _attributes(node: _Node, name: str, found: _Found) -> Iterator[str]:
    for key, value in node.attributes.items():
        allowed = _ATTRIBUTES.get(key)
        if allowed is not None and allowed.fullmatch(value):
            (found.codes if key in _CODES else found.values).append(value)
            if key in _NAMES:
                yield f" {key}={quoteattr(clean_pieces([value], found.cleaned)[0])}"
            elif _is_plain(value, found.cleaned):
                yield f" {key}={quoteattr(value)}"
        elif (
            key == f"{_XSI}}}type"
            and re.fullmatch(r"[A-Z_]{1,16}", value)
            and _is_plain(value, found.cleaned)
        ):
            yield f' xsi:type="{value}"'
        elif name in _VOCABULARY_ROOTS and key == "root" and _OID.fullmatch(value):
            found.codes.append(value)
            yield f' root="{value}"'
        elif name == "typeId" and key == "extension" and re.fullmatch(r"POCD_[A-Z]{2}[0-9]{6}", value):
            yield f' extension="{value}"'


def _is_plain(value: str, cleaned: Cleaner) -> bool:
    """Whether all longer words of a code, style or unit are known."""
    return all(
        word.lower() in _OF_THE_STANDARD or cleaned(word) == word for word in _LONG_WORD.findall(value)
    )


def _local(part: _Node | str) -> str:
    """Name of an HL7 element, '' for others."""
    if isinstance(part, str):
        return ""
    space, _, name = part.name.rpartition("}")
    return name if space == HL7 else ""


def _parsed(value: bytes) -> _Node:
    """The elements; comments and processing instructions are gone, and document types are refused."""
    top = _Node("", {})
    stack, count = [top], 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if count > MOST_NODES or len(stack) > DEEPEST:
            raise Hold("the XML document is too large to be searched")
        node = _Node(name, attributes)
        stack[-1].parts.append(node)
        stack.append(node)

    def text(piece: str) -> None:
        stack[-1].parts.append(piece)

    def end(_name: str) -> None:
        stack.pop()

    def refuse(*_: object) -> None:
        raise Hold("the XML document declares a document type")

    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(value.rstrip(b"\0"), True)  # noqa: FBT003 — expat takes no keyword
    except expat.ExpatError:
        raise Hold("the XML document cannot be read") from None
    node = top.parts[0] if top.parts else None
    if not isinstance(node, _Node):
        raise Hold("the XML document cannot be read")
    return node
