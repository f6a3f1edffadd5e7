"""Prints `docs/object-types.md` from `sop_classes.csv`.

python -m fiona_dagster.domain.deid.tables.generate_object_types > docs/object-types.md
"""

from __future__ import annotations

import sys
from itertools import groupby

from fiona_dagster.domain.deid.table import SopClassRow, rows, sop_classes

_START = """# What happens to which object type

Made from `fiona_dagster/domain/deid/tables/sop_classes.csv` by
`python -m fiona_dagster.domain.deid.tables.generate_object_types`.

Default deny: a SOP Class that is not in this table, a private one among them, is held, and so is every row that does
not say *released*. For each row that does, `tests/domain/deid/test_object_types.py` sends an instance full of
identifiers the whole way, and looks for them in every byte of the copy.

| word | meaning |
| --- | --- |
| released | cleaned by the profile, attribute by attribute, at every depth, and verified |
| released after search | the embedded document is made anew from what was read and searched; else held |
| released by project | held unless the project sets `release_raw_data`; private elements go in any case |
| held | kept in quarantine, with the reason |

| text in pixels | held, unless BurnedInAnnotation is NO or the project vouches for its pixels, where |
| --- | --- |
| none | never: it has no pixels, or they are computed |
| colour | the image is in colour, or names itself a screen, a report or a capture (`burned_in.csv`) |
| secondary | as before, or Image Type says SECONDARY |
| possible | always |
| slide | it is no VOLUME, whatever BurnedInAnnotation says; a LABEL, and SpecimenLabelInImage YES, always |

BurnedInAnnotation YES and overlays in unused bits of the pixels count in all of them.

**A person may be recognized**: where the profile has the option Clean Recognizable Visual Features, these are held:
*always*, or with *head* unless BodyPartExamined is a part without the head (`recognizable.csv`) and no description
speaks of the head. An unknown body part is held.

Held, too: transfer syntaxes that the standard does not know, of video (a stream may carry sound, faces and text), and
those that keep the pixels elsewhere (JPIP).

## What stays and what goes, by kind

| kind | goes | stays |
| --- | --- | --- |
| image, photograph, slide | descriptions, comments, names, specimen and container identifiers, icon, overlays | pixels, geometry, acquisition, functional groups, ICC profile, optical paths |
| structured report | text, names, observers, requests; dates move, UIDs are mapped | codes, numbers, coordinates, references, template |
| presentation state | text annotations become a dummy, creator | graphics, layers, windows, displayed area, references |
| waveform | channel labels, group labels, annotations | samples, channel sources (codes), sensitivities, filters |
| spectroscopy | as images | spectra, volumes, functional groups |
| derived, surface | creator, descriptions, comments | segments with labels, matrices, grids, points, meshes, tracks, mappings, annotation points |
| radiotherapy | labels, names and descriptions of structure sets, plans, machines; ROI Name is emptied (table E.1-1: Z), names of reviewers and operators | ROI numbers and types, contours, beams with names and numbers, doses, DVHs, delivered metersets |
| measurement | comments | values by eye, test points, devices |
| document | PDF: all but text at its places; CDA: people, places, dates, identifiers; models: names, comments | text without identifiers; codes, measurements and narrative; geometry and colours |

ROI Name stays, cleaned, with the option Clean Descriptors. A PDF is set anew in a standard font; with images, drawings
(a traced ECG), annotations, form fields, attachments, scripts, encryption or no text it is held.

## All object types
"""
_HANDLING = {
    "clean": "released",
    "document": "released after search",
    "project": "released by project",
    "hold": "held",
}


def page() -> str:
    """The whole page."""
    return _START + "".join(_sections())


def _sections() -> list[str]:
    order = {row["kind"]: number for number, row in reversed(list(enumerate(rows("sop_classes.csv"))))}
    found = sorted(sop_classes().items(), key=lambda one: order[one[1].kind])
    parts = []
    for kind, group in groupby(found, key=lambda one: one[1].kind):
        parts.append(f"\n### {kind.replace('_', ' ').capitalize()}\n\n")
        parts.append("| SOP Class | UID | what happens | text in pixels | a person may be recognized |\n")
        parts.append("| --- | --- | --- | --- | --- |\n")
        parts += [_line(uid, row) for uid, row in group]
    return parts


def _line(uid: str, row: SopClassRow) -> str:
    handling = _HANDLING[row.handling] + (f": {row.reason}" if row.reason else "")
    if row.handling == "hold":
        return f"| {row.keyword} | {uid} | {handling} | | |\n"
    return f"| {row.keyword} | {uid} | {handling} | {row.pixel_text} | {row.recognizable} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
