"""The files of a package: which they are, what they are called in it, and whether they are still the verified ones."""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fiona_dagster.adapters.export_copies import Splice, splice
from fiona_dagster.adapters.stored_zip import HashThread
from fiona_dagster.domain.errors import Hold, Permanent
from fiona_dagster.domain.exports.changes import ExportContext, edits_of, left_out
from fiona_dagster.domain.exports.trees import NAMED_AFTER_SERIES, place_of
from fiona_dagster.domain.packaging import CopyHeader, Entry

if TYPE_CHECKING:
    from fiona_dagster.domain.deidentification import DeidentifiedInstance
    from fiona_dagster.domain.exports.profiles import ExportProfile
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
    "modality": "Modality",
    "accession_number": "AccessionNumber",
}


@dataclass(frozen=True)
class Source:
    """A file on disk and the entry that it becomes; with `splice`, the changed copy, whose sum is taken in packing."""

    entry: Entry
    path: Path
    splice: Splice | None = None


@dataclass(frozen=True)
class Chosen:
    """The files of an export, and how many instances it leaves out, by reason."""

    sources: list[Source]
    left_out: tuple[tuple[str, int], ...] = ()


def dicom_sources(study: VerifiedStudy, profile: ExportProfile, context: ExportContext) -> Chosen:
    """The files of an export of DICOM, in the order of their names.

    Raises:
        Permanent: a file cannot be read as DICOM, two want one name, or a value does not fit.
    """
    reasons = {one.path: left_out(profile.export_type, one) for one in study.instances}
    taken = [one for one in study.instances if not reasons[one.path]]
    headers = [CopyHeader()] * len(taken)
    meeting: set[tuple[str, str]] = set()
    if profile.template is not None or profile.export_type in NAMED_AFTER_SERIES:
        headers = [_header(study.folder / one.path) for one in taken]
        series = {(h.series_number, h.series_description, i.series_instance_uid)
                  for h, i in zip(headers, taken, strict=True)}  # fmt: skip
        shared = Counter((number, description) for number, description, _ in series)
        meeting = {key for key, count in shared.items() if count > 1}
    files = Counter(Path(one.path).name for one in taken)
    names = study_names(study)
    sources = []
    for one, header in zip(taken, headers, strict=True):
        file = Path(one.path).name
        file = file if files[file] == 1 else f"{one.sop_instance_uid}.dcm"
        apart = (header.series_number, header.series_description) in meeting
        name = place_of(profile, names, file, header, series_uid=one.series_instance_uid, apart=apart)
        sources.append(_source(study.folder / one.path, name, one, profile, context, names))
    counted = Counter(reason for reason in reasons.values() if reason)
    return Chosen(_in_order(sources), tuple(sorted(counted.items())))


def study_names(study: VerifiedStudy) -> dict[str, str]:
    """What folders and attributes of an export may be named after; all of the copy."""
    return {
        "project": study.project,
        "participant": study.participant,
        "event": study.event,
        "study": study.study_instance_uid,
        "accession": value_of(study, "AccessionNumber"),
    }


def _source(
    path: Path,
    name: str,
    one: DeidentifiedInstance,
    profile: ExportProfile,
    context: ExportContext,
    names: dict[str, str],
) -> Source:
    changed = None
    if profile.changes_copies:
        changed = splice(path, lambda texts: edits_of(profile, context, names, texts, one.sop_class_uid))
    if changed is None:
        return Source(Entry(name, one.sha256, one.size_bytes, one.sop_instance_uid), path)
    size = len(changed.head) + one.size_bytes - changed.skip
    return Source(Entry(name, "", size, one.sop_instance_uid, one.sha256), path, changed)


def converted_sources(files: Iterable[tuple[str, Path]]) -> list[Source]:
    """Files that were made, by their names in the package, with their sums, in the order of their names."""
    sources = []
    for name, path in files:
        digest = hashlib.sha256()
        with path.open("rb") as stream:
            for piece in pieces(stream):
                digest.update(piece)
        sources.append(Source(Entry(name, digest.hexdigest(), path.stat().st_size), path))
    return _in_order(sources)


def _in_order(sources: list[Source]) -> list[Source]:
    if len({s.entry.name for s in sources}) != len(sources):
        raise Permanent("two files of the study want one name in the package")
    return sorted(sources, key=lambda s: s.entry.name)


class Verifier:
    """Compares files with the sums of their verification while they are packed, in a thread beside.

    `entries` are complete when `confirm` has returned: sums of changed copies are taken on the way.
    """

    def __init__(self) -> None:
        self._hashing = HashThread()
        self._sums: list[tuple[Any, str]] = []
        self._packed: list[tuple[Entry, Any]] = []

    def content(self, source: Source) -> tuple[int, Iterable[bytes]]:
        """CRC-32 and content of a file. A large one is read for its CRC-32 first, then again to be written.

        Raises:
            Hold: the file has another size than when it was verified.
        """
        entry, changed = source.entry, source.splice
        digest, made = hashlib.sha256(), hashlib.sha256() if changed else None
        self._sums.append((digest, entry.source_sha256 or entry.sha256))
        self._packed.append((entry, made))
        size = entry.size_bytes + (changed.skip - len(changed.head) if changed else 0)
        if size <= AT_ONCE:
            with source.path.open("rb", buffering=0) as stream:
                data = stream.read(size + 1) or b""
            if len(data) != size:
                raise _changed()
            self._hashing.feed(digest, data)
            if changed is not None:
                data = changed.head + data[changed.skip :]
                self._hashing.feed(made, data)
            return zlib.crc32(data), (data,)
        crc, read = zlib.crc32(changed.head) if changed else 0, changed.skip if changed else 0
        with source.path.open("rb", buffering=0) as stream:
            stream.seek(read)
            for piece in pieces(stream):
                crc, read = zlib.crc32(piece, crc), read + len(piece)
        if read != size:
            raise _changed()
        return crc, self._again(source, crc, digest, made)

    def confirm(self) -> None:
        """Wait for all sums.

        Raises:
            Hold: one is not that of the verification.
        """
        self.stop()
        if any(digest.hexdigest() != expected for digest, expected in self._sums):
            raise _changed()

    def entries(self) -> tuple[Entry, ...]:
        """What was packed, in its order."""
        return tuple(
            replace(entry, sha256=made.hexdigest()) if made is not None else entry
            for entry, made in self._packed
        )

    def stop(self) -> None:
        """End the hashing thread; safe to call again."""
        self._hashing.finish()

    def _again(self, source: Source, crc: int, digest: Any, made: Any) -> Iterator[bytes]:
        changed = source.splice
        head, skip = (changed.head, changed.skip) if changed else (b"", 0)
        again, left = zlib.crc32(head), source.entry.size_bytes - len(head)
        if head:
            self._hashing.feed(made, head)
            yield head
        with source.path.open("rb", buffering=0) as stream:
            before = 0
            for piece in pieces(stream):
                self._hashing.feed(digest, piece)
                part = piece[max(0, skip - before) :]
                before += len(piece)
                if not part:
                    continue
                again, left = zlib.crc32(part, again), left - len(part)
                if left < 0:
                    break
                if made is not None:
                    self._hashing.feed(made, part)
                yield part
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
