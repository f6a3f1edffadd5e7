"""What is sent in a soak: studies of CT, MR, SR and multi-frame instances, always the same for the same seed.

Data sets are encoded here, element by element, so that a sender costs little beside the receiver.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

ROOT = "1.2.826.0.1.3680043.99.41"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"


@dataclass(frozen=True)
class Kind:
    """A sort of instance: SOP Class, Modality, and the bytes of pixels or text, from and to."""

    sop_class_uid: str
    modality: str
    least: int
    most: int


KINDS = {
    "ct": Kind("1.2.840.10008.5.1.4.1.1.2", "CT", 20_000, 130_000),
    "mr": Kind("1.2.840.10008.5.1.4.1.1.4", "MR", 4_000, 32_000),
    "sr": Kind("1.2.840.10008.5.1.4.1.1.88.11", "SR", 200, 4_000),
    "mf": Kind("1.2.840.10008.5.1.4.1.1.2.1", "CT", 1_000_000, 6_000_000),
}
_SHARES = ("ct",) * 10 + ("mr",) * 14 + ("sr",) * 4 + ("mf",)

OTHER_CONTENT, OTHER_STUDY = 1, 2
"""Variants: 0 is the instance itself, 1 has other content, 2 lies in another study; all have its SOP Instance UID."""


@dataclass(frozen=True)
class Instance:
    """One SOP Instance, or another one that claims its UID."""

    seed: int
    study: int
    series: int
    number: int
    kind: str
    variant: int = 0

    @property
    def sop_class_uid(self) -> str:
        return KINDS[self.kind].sop_class_uid

    @property
    def study_instance_uid(self) -> str:
        other = ".9" if self.variant == OTHER_STUDY else ""
        return f"{ROOT}.{self.seed}.{self.study}{other}"

    @property
    def series_instance_uid(self) -> str:
        return f"{self.study_instance_uid}.{self.series}"

    @property
    def sop_instance_uid(self) -> str:
        return f"{ROOT}.{self.seed}.{self.study}.{self.series}.{self.number}"

    def data_set(self) -> bytes:
        """Its bytes in Explicit VR Little Endian."""
        kind = KINDS[self.kind]
        random = Random(f"{self.seed}/{self.study}/{self.series}/{self.number}/{self.variant}")
        size = random.randrange(kind.least, kind.most) // 2 * 2
        elements = [
            _text(0x0008, 0x0016, b"UI", kind.sop_class_uid),
            _text(0x0008, 0x0018, b"UI", self.sop_instance_uid),
            _text(0x0008, 0x0020, b"DA", "20240131"),
            _text(0x0008, 0x0030, b"TM", "101500"),
            _text(0x0008, 0x0050, b"SH", f"A{self.study}"),
            _text(0x0008, 0x0060, b"CS", kind.modality),
            _text(0x0008, 0x0070, b"LO", "Maker"),
            _text(0x0010, 0x0010, b"PN", f"Soak^Number{self.study}"),
            _text(0x0010, 0x0020, b"LO", f"P{self.study}"),
            _text(0x0020, 0x000D, b"UI", self.study_instance_uid),
            _text(0x0020, 0x000E, b"UI", self.series_instance_uid),
            _text(0x0020, 0x0013, b"IS", str(self.number)),
        ]
        if self.kind == "sr":
            elements.append(_long(0x0040, 0xA160, b"UT", random.randbytes(size // 2).hex().encode("ascii")))
        else:
            elements.append(_long(0x7FE0, 0x0010, b"OW", random.randbytes(size)))
        return b"".join(elements)


class Census:
    """Studies one after the other, until so many bytes have been given out; then those again that there are."""

    def __init__(self, seed: int, megabytes: float) -> None:
        self._seed, self._left = seed, megabytes * 1e6
        self._random = Random(f"census/{seed}")
        self._studies: list[list[Instance]] = []

    @property
    def study_count(self) -> int:
        return len(self._studies)

    def study(self) -> list[Instance]:
        """A study that is new as long as there is room, else one of before."""
        if self._left <= 0 and self._studies:
            return self._random.choice(self._studies)
        found = list(self._instances(len(self._studies) + 1))
        self._left -= sum((KINDS[one.kind].least + KINDS[one.kind].most) / 2 for one in found)
        self._studies.append(found)
        return found

    def _instances(self, study: int) -> Iterator[Instance]:
        for series in range(1, self._random.randint(1, 4) + 1):
            kind = self._random.choice(_SHARES)
            count = 1 if kind == "mf" else self._random.randint(1, 8 if kind == "sr" else 60)
            for number in range(1, count + 1):
                yield Instance(self._seed, study, series, number, kind)


def sha256(data_set: bytes) -> str:
    """As the ledger has it."""
    return hashlib.sha256(data_set).hexdigest()


def _text(group: int, element: int, vr: bytes, value: str) -> bytes:
    content = value.encode("ascii")
    content += (b"\0" if vr == b"UI" else b" ") * (len(content) % 2)
    return struct.pack("<HH2sH", group, element, vr, len(content)) + content


def _long(group: int, element: int, vr: bytes, content: bytes) -> bytes:
    return struct.pack("<HH2sHL", group, element, vr, 0, len(content)) + content
