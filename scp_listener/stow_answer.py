"""What a Store request is answered: HTTP status and the Store Instances Response Module (PS3.18 section 10.5.3)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from fiona_dagster.domain.dimse_status import Status
from scp_listener.stow_intake import Outcome

JSON, XML = "application/dicom+json", "application/dicom+xml"

_KEYWORDS = {
    "00081150": ("UI", "ReferencedSOPClassUID"),
    "00081155": ("UI", "ReferencedSOPInstanceUID"),
    "00081190": ("UR", "RetrieveURL"),
    "00081197": ("US", "FailureReason"),
    "00081198": ("SQ", "FailedSOPSequence"),
    "00081199": ("SQ", "ReferencedSOPSequence"),
    "0008119A": ("SQ", "OtherFailuresSequence"),
}
_CLASS, _INSTANCE, _URL, _REASON, _FAILED, _REFERENCED, _OTHER = _KEYWORDS

_Item = dict[str, str | int]


def http_status(outcomes: Sequence[Outcome], *, whole: bool) -> int:
    """By PS3.18 table 10.5.3-1; `whole`: the body was well formed and came to its end.

    503 where nothing was stored for want of room, so that the sender tries again.
    """
    stored = sum(not one.failure_reason for one in outcomes)
    if stored:
        return 200 if whole and stored == len(outcomes) else 202
    if any(one.failure_reason == Status.OUT_OF_RESOURCES for one in outcomes):
        return 503
    return 409 if whole and outcomes else 400


def body(outcomes: Sequence[Outcome], media_type: str) -> bytes:
    """The module in `media_type`. Retrieve URL is there and empty: nothing can be retrieved here."""
    referenced: list[_Item] = []
    failed: list[_Item] = []
    other: list[_Item] = []
    for one in outcomes:
        item: _Item = {}
        if one.sop_instance_uid:
            item = {_CLASS: one.sop_class_uid, _INSTANCE: one.sop_instance_uid}
        if not one.failure_reason:
            referenced.append(item)
        else:
            item[_REASON] = one.failure_reason
            (failed if one.sop_instance_uid else other).append(item)
    sequences = {_FAILED: failed, _REFERENCED: referenced, _OTHER: other}
    present = {tag: items for tag, items in sequences.items() if items}
    return _xml(present) if media_type == XML else _json(present)


def media_type(accept: str) -> str:
    """What the Accept field of a request likes best of the two; JSON where it likes neither: by then it is stored."""
    best, quality = JSON, 0.0
    for one in accept.lower().split(","):
        kind, _, parameters = one.partition(";")
        weight = 1.0
        for parameter in parameters.split(";"):
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    weight = float(value)
                except ValueError:
                    weight = 0.0
        found = {JSON: JSON, "application/json": JSON, "*/*": JSON, "application/*": JSON, XML: XML}.get(
            kind.strip()
        )
        if found is not None and weight > quality:
            best, quality = found, weight
    return best


def _json(sequences: dict[str, list[_Item]]) -> bytes:
    """The DICOM JSON Model (PS3.18 annex F)."""
    module: dict[str, object] = {_URL: {"vr": "UR"}}
    for tag, items in sequences.items():
        values = [
            {name: {"vr": _KEYWORDS[name][0], "Value": [value]} for name, value in item.items()}
            for item in items
        ]
        module[tag] = {"vr": "SQ", "Value": values}
    return json.dumps(module, sort_keys=True).encode("ascii")


def _xml(sequences: dict[str, list[_Item]]) -> bytes:
    """The Native DICOM Model (PS3.19 annex A.1)."""
    root = ET.Element("NativeDicomModel", {"xmlns": "http://dicom.nema.org/PS3.19/models/NativeDICOM"})
    _attribute(root, _URL)
    for tag, items in sequences.items():
        sequence = _attribute(root, tag)
        for number, item in enumerate(items, 1):
            held = ET.SubElement(sequence, "Item", {"number": str(number)})
            for name, value in item.items():
                ET.SubElement(_attribute(held, name), "Value", {"number": "1"}).text = str(value)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True)


def _attribute(parent: ET.Element, tag: str) -> ET.Element:
    vr, keyword = _KEYWORDS[tag]
    return ET.SubElement(parent, "DicomAttribute", {"tag": tag, "vr": vr, "keyword": keyword})
