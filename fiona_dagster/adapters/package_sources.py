"""The files of a package: which they are, what they are called in it, and whether they are still the verified ones."""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fiona_dagster.adapters.stored_zip import HashThread
from fiona_dagster.domain.errors import Hold, Permanent
from fiona_dagster.domain.packaging import CopyHeader, Entry, ExportType, entry_name

if TYPE_CHECKING:
    from fiona_dagster.domain.verification import VerifiedStudy

PIECE = 1 << 20
"""Bytes that are read at once of a large file."""
AT_ONCE = 4 << 20
"""Bytes: a file up to this size is read once and held; a larger one is read twice, in pieces."""
_HEADER = {
    "institution_name": "InstitutionName",
    "patient_id": "PatientID",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "series_number": "SeriesNumber",
    "series_description": "SeriesDescription",
}


@dataclass(frozen=True)
class Source:
    """A file on disk and the entry that it becomes."""

    entry: Entry
    path: Path


def dicom_sources(study: VerifiedStudy, export_type: ExportType) -> list[Source]:
    """The files of a native or PURE export, in the order of their names.

    Raises:
        Permanent: a file cannot be read as DICOM, or two want one name.
    """
    headers = [CopyHeader()] * len(study.instances)
    meeting: set[tuple[str, str]] = set()
    if export_type is ExportType.PURE:
        headers = [_header(study.folder / one.path) for one in study.instances]
        series = {(h.series_number, h.series_description, i.series_instance_uid)
                  for h, i in zip(headers, study.instances, strict=True)}  # fmt: skip
        shared = Counter((number, description) for number, description, _ in series)
        meeting = {key for key, count in shared.items() if count > 1}
    files = Counter(Path(one.path).name for one in study.instances)
    sources = []
    for one, header in zip(study.instances, headers, strict=True):
        file = Path(one.path).name
        file = file if files[file] == 1 else f"{one.sop_instance_uid}.dcm"
        apart = (
            one.series_instance_uid if (header.series_number, header.series_description) in meeting else ""
        )
        name = entry_name(export_type, study.event, file, header, series_uid=apart)
        entry = Entry(name, one.sha256, one.size_bytes, one.sop_instance_uid)
        sources.append(Source(entry, study.folder / one.path))
    return _in_order(sources)


def nifti_sources(event: str, files: Iterable[Path]) -> list[Source]:
    """Converted files with their sums, in the order of their names."""
    sources = []
    for path in files:
        digest = hashlib.sha256()
        with path.open("rb") as stream:
            for piece in pieces(stream):
                digest.update(piece)
        name = entry_name(ExportType.NIFTI, event, path.name)
        sources.append(Source(Entry(name, digest.hexdigest(), path.stat().st_size), path))
    return _in_order(sources)


def _in_order(sources: list[Source]) -> list[Source]:
    if len({s.entry.name for s in sources}) != len(sources):
        raise Permanent("two files of the study want one name in the package")
    return sorted(sources, key=lambda s: s.entry.name)


class Verifier:
    """Compares files with the sums of their verification while they are packed, in a thread beside."""

    def __init__(self) -> None:
        self._hashing = HashThread()
        self._sums: list[tuple[Any, str]] = []

    def content(self, source: Source) -> tuple[int, Iterable[bytes]]:
        """CRC-32 and content of a file. A large one is read for its CRC-32 first, then again to be written.

        Raises:
            Hold: the file has another size than when it was verified.
        """
        digest = hashlib.sha256()
        self._sums.append((digest, source.entry.sha256))
        if source.entry.size_bytes <= AT_ONCE:
            with source.path.open("rb", buffering=0) as stream:
                data = stream.read(source.entry.size_bytes + 1) or b""
            if len(data) != source.entry.size_bytes:
                raise _changed()
            self._hashing.feed(digest, data)
            return zlib.crc32(data), (data,)
        crc, size = 0, 0
        with source.path.open("rb", buffering=0) as stream:
            for piece in pieces(stream):
                crc, size = zlib.crc32(piece, crc), size + len(piece)
        if size != source.entry.size_bytes:
            raise _changed()
        return crc, self._again(source, crc, digest)

    def confirm(self) -> None:
        """Wait for all sums.

        Raises:
            Hold: one is not that of the verification.
        """
        self.stop()
        if any(digest.hexdigest() != expected for digest, expected in self._sums):
            raise _changed()

    def stop(self) -> None:
        """End the hashing thread; safe to call again."""
        self._hashing.finish()

    def _again(self, source: Source, crc: int, digest: Any) -> Iterator[bytes]:
        again, left = 0, source.entry.size_bytes
        with source.path.open("rb", buffering=0) as stream:
            for piece in pieces(stream):
                again, left = zlib.crc32(piece, again), left - len(piece)
                if left < 0:
                    break
                self._hashing.feed(digest, piece)
                yield piece
        if left != 0 or again != crc:
            raise _changed()


def pieces(stream: IO[bytes] | Any) -> Iterator[bytes]:
    """The rest of `stream`, at most `PIECE` bytes at a time."""
    while piece := stream.read(PIECE):
        yield piece


def value_of(study: VerifiedStudy, keyword: str) -> str:
    """An attribute of the copy that is the same in the whole study."""
    if not study.instances:
        return ""
    return _read_keywords(study.folder / study.instances[0].path, (keyword,))[keyword]


def _changed() -> Hold:
    return Hold("a file changed after its verification: verify the study again")


def _header(path: Path) -> CopyHeader:
    found = _read_keywords(path, tuple(_HEADER.values()))
    return CopyHeader(**{field: found[keyword] for field, keyword in _HEADER.items()})


def _read_keywords(path: Path, keywords: tuple[str, ...]) -> dict[str, str]:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        dataset = dcmread(path, stop_before_pixels=True, specific_tags=list(keywords))
        return {keyword: str(dataset.get(keyword) or "") for keyword in keywords}
    except OSError as error:
        raise Permanent(f"a file of the verified study cannot be read ({error.strerror})") from None
    except (InvalidDicomError, ValueError, TypeError, KeyError, NotImplementedError):
        # pydicom's messages hold values
        raise Permanent("a file of the verified study cannot be read as DICOM") from None
