"""Copies with the changes of an export: only the header is made anew, the rest of the file follows as it was verified.

A deflated copy is made anew whole, in memory, as it was read.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fiona_dagster.adapters.dicom_files import DEFLATED, InstanceFile, read_instance
from fiona_dagster.domain.deid.dictionary import tag_of
from fiona_dagster.domain.deid.text import first_text
from fiona_dagster.domain.exports.edits import Edits, edited


@dataclass(frozen=True)
class Splice:
    """The changed file: `head`, then the file from byte `skip` on."""

    head: bytes
    skip: int


def splice(path: Path, edits_for: Callable[[Callable[[str], str]], Edits]) -> Splice | None:
    """A verified copy with the changes; None where there are none.

    Args:
        path: of the copy.
        edits_for: what to change in a copy, asked with its attributes by keyword.

    Raises:
        Permanent: the copy cannot be read, or a value does not fit.
    """
    file = read_instance(path)
    edits = edits_for(lambda keyword: first_text(file.dataset, tag_of(keyword) or 0))
    if edits.nothing:
        return None
    before = edited(file.dataset, edits)
    meta = path.open("rb")
    with meta:
        start = meta.read(max((place[2] for place in file.meta.places.values()), default=132))
    if file.transfer_syntax_uid == DEFLATED:
        machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        packed = machine.compress(before) + machine.flush()
        return Splice(start + packed + b"\0" * (len(packed) % 2), file.size)
    return Splice(start + before, _end_of_header(file))


def _end_of_header(file: InstanceFile) -> int:
    return max(place[2] for place in file.dataset.places.values())
