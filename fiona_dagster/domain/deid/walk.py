"""Every element of a data set at every depth, with its path: how verification reads originals and copies.

It shares no code with the engine's own walk, so that a branch that the engine forgot is not forgotten here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

from pydicom.charset import default_encoding
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.filereader import read_sequence

from fiona_dagster.domain.deid.table import standard_vr
from fiona_dagster.domain.deid.text import decode, encodings_of, readings, split


@dataclass(frozen=True, slots=True)
class Found:
    """One element that is no sequence. `vr` is the dictionary's where the file has none or UN."""

    path: tuple[int, ...]
    vr: str
    declared_vr: str
    value: bytes
    encodings: Sequence[str]

    @property
    def tag(self) -> int:
        return self.path[-1]

    @property
    def keyword(self) -> str:
        """Keywords joined by dots, tags in hexadecimal digits where there is none."""
        return ".".join(keyword_for_tag(tag) or f"{tag:08X}" for tag in self.path)

    def texts(self) -> list[str]:
        """The values as text, stripped; bytes that are no text in their character set are read as Latin-1."""
        text = decode(self.value, self.vr, self.encodings)
        text = self.value.decode("latin-1") if text is None else text
        return [one.strip(" \0") for one in split(text, self.vr)]

    def readings(self) -> list[str]:
        """The values in every plausible character set: the declared one may be wrong, and elsewhere be right."""
        if self.value.isascii():
            return self.texts()
        read = {
            part for text in readings(self.value, self.vr, self.encodings) for part in split(text, self.vr)
        }
        return sorted(one.strip(" \0") for one in read)


Enter = Callable[[int, str], bool]


def walk(dataset: Dataset, enter: Enter | None = None) -> Iterator[Found]:
    """All elements in order, those of sequences included.

    Args:
        dataset: as `pydicom.dcmread` gives it; file meta is a data set of its own.
        enter: whether to go into a sequence, by tag and declared VR; default all.
    """
    yield from _walk(dataset, (), encodings_of(dataset, [default_encoding]), enter)


def _walk(
    dataset: Dataset, path: tuple[int, ...], encodings: Sequence[str], enter: Enter | None
) -> Iterator[Found]:
    for key in list(dataset.keys()):
        tag = int(key)
        raw = dataset.get_item(key)
        if raw is None:
            continue
        declared = str(raw.VR or "")
        vr = declared if declared not in {"", "UN"} else (standard_vr(tag) or "UN")
        if vr == "SQ" and enter is not None and not enter(tag, declared):
            continue
        items = _items(dataset, tag, raw.value, declared) if vr in {"SQ", "UN"} else None
        if items is not None:
            for item in items:
                yield from _walk(item, (*path, tag), encodings_of(item, encodings), enter)
        elif isinstance(raw.value, bytes) or raw.value is None:
            yield Found((*path, tag), vr, declared, raw.value or b"", encodings)
        else:
            yield Found((*path, tag), vr, declared, str(raw.value).encode(), ["utf8"])


def _items(dataset: Dataset, tag: int, value: object, declared: str) -> list[Dataset] | None:
    """Items of a sequence, or of bytes in UN that look like one; None where there are none to be read."""
    try:
        if declared == "UN" or (declared == "" and standard_vr(tag) is None):
            if not isinstance(value, bytes):
                return list(value) if value is not None else None  # type: ignore[call-overload]
            if not value.startswith(b"\xfe\xff\x00\xe0"):
                return None
            return list(read_sequence(BytesIO(value), True, True, len(value), default_encoding))  # noqa: FBT003
        return list(dataset[tag].value or [])
    except Exception:  # noqa: BLE001 — bytes that no parser understands are searched as bytes
        return None
