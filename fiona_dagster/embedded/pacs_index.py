"""What an embedded archive holds: a file for every SOP Instance, and a SQLite index of what queries ask for.

A file is on disk, synced and renamed into place before its row is committed, and the row before anybody hears Success.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fiona_dagster.adapters.dicom_scu import read_stored_instance
from fiona_dagster.adapters.durable import sync_folder, write_durably
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.identifiers import is_safe_uid_path
from fiona_dagster.embedded.query_matching import matches

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

LEVELS = {
    "PATIENT": "PatientID",
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}
"""Query/Retrieve Levels from the top, each with its unique key (PS3.4 C.6)."""

INDEXED = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "OtherPatientIDs", "EthnicGroup",
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber",
    "ReferringPhysicianName", "PatientAge", "PatientWeight", "PatientSize", "AdditionalPatientHistory",
    "SeriesInstanceUID", "SeriesNumber", "SeriesDate", "SeriesTime", "SeriesDescription", "Modality",
    "BodyPartExamined", "ProtocolName", "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime",
    "InstitutionName", "StationName", "Manufacturer", "Laterality",
    "SOPInstanceUID", "SOPClassUID", "InstanceNumber", "AcquisitionNumber", "ImageType", "ImageComments",
    "ContentDate", "ContentTime", "AcquisitionDate", "AcquisitionTime", "Rows", "Columns", "NumberOfFrames",
    "ImagesInAcquisition",
)  # fmt: skip

_SCHEMA = """
CREATE TABLE IF NOT EXISTS instance (
    sop_instance_uid TEXT PRIMARY KEY,
    study_instance_uid TEXT NOT NULL,
    series_instance_uid TEXT NOT NULL,
    sop_class_uid TEXT NOT NULL,
    transfer_syntax_uid TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    path TEXT NOT NULL,
    attributes TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS of_study ON instance (study_instance_uid);
"""


class Disposition(Enum):
    """What became of an instance that was offered."""

    STORED = "stored"
    IDENTICAL = "held already, with the same content"
    OTHER_CONTENT = "held already, with other content: the first stays"


@dataclass(frozen=True)
class IndexedInstance:
    """One row. `attributes`: values by keyword, as text."""

    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    path: Path
    attributes: dict[str, list[str]]

    def key(self, level: str) -> str:
        """The unique key at a Query/Retrieve Level."""
        return (self.attributes.get(LEVELS[level]) or [""])[0]


class PacsIndex:
    """Files and index below one folder. Safe to share between threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "instances"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            folder / "index.sqlite", check_same_thread=False, isolation_level=None
        )
        self._connection.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=30000;" + _SCHEMA
        )

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def __len__(self) -> int:
        return int(self._rows("SELECT count(*) FROM instance")[0][0])

    def store(
        self, data_set: Dataset, encoded: bytes, *, file_head: bytes, transfer_syntax_uid: str
    ) -> Disposition:
        """Keep an instance, durably.

        The same SOP Instance UID again is accepted when the encoded data set is the same, byte for byte; with other
        content it is refused and the first stays.

        Args:
            data_set: the instance, for its attributes.
            encoded: the same as it was sent.
            file_head: preamble and File Meta Information.
            transfer_syntax_uid: of the data set.

        Raises:
            Permanent: it lacks a UID that an archive cannot do without, or has one that cannot name a file.
        """
        uids = [str(data_set.get(keyword, "")) for keyword in list(LEVELS.values())[1:]]
        if not all(map(is_safe_uid_path, uids)):
            raise Permanent("Study, Series or SOP Instance UID is missing or unusable")
        study, _, sop_instance = uids
        target = self._folder / study / f"{sop_instance}.dcm"
        digest = hashlib.sha256(encoded).hexdigest()
        with self._lock:
            known = self._connection.execute(
                "SELECT sha256 FROM instance WHERE sop_instance_uid = ?", (sop_instance,)
            ).fetchone()
            if known:
                return Disposition.IDENTICAL if known[0] == digest else Disposition.OTHER_CONTENT
            target.parent.mkdir(parents=True, exist_ok=True)
            sync_folder(self._folder)
            write_durably(target, file_head + encoded)
            self._insert(data_set, target, digest, transfer_syntax_uid)
        return Disposition.STORED

    def add_files(self, paths: Iterable[Path]) -> int:
        """Index DICOM files where they lie (a simulator's own studies); what cannot be indexed is left out.

        Returns: how many were indexed.
        """
        from pydicom import dcmread
        from pydicom.errors import InvalidDicomError

        added = 0
        for path in paths:
            try:
                stored = read_stored_instance(path)
                data_set = dcmread(path, stop_before_pixels=True)
            except (Permanent, InvalidDicomError, EOFError, ValueError, AttributeError):
                continue
            if all(data_set.get(keyword) for keyword in list(LEVELS.values())[1:]):
                digest = hashlib.sha256(path.read_bytes()[stored.offset :]).hexdigest()
                with self._lock:
                    self._insert(data_set, path, digest, stored.transfer_syntax_uid)
                added += 1
        return added

    def holds(self, sop_instance_uid: str) -> bool:
        """Whether the instance is in the index and its file on the disk."""
        rows = self._rows("SELECT path FROM instance WHERE sop_instance_uid = ?", sop_instance_uid)
        return bool(rows) and Path(rows[0][0]).is_file()

    def remove(self, sop_instance_uid: str) -> None:
        """Delete an instance, as an administrator of a PACS would."""
        for (path,) in self._rows("SELECT path FROM instance WHERE sop_instance_uid = ?", sop_instance_uid):
            self._rows("DELETE FROM instance WHERE sop_instance_uid = ?", sop_instance_uid)
            Path(path).unlink(missing_ok=True)

    def sop_instance_uids(self, study_instance_uid: str | None = None) -> frozenset[str]:
        """SOP Instance UIDs of one study, or all."""
        chosen = [study_instance_uid] if study_instance_uid else []
        return frozenset(one.sop_instance_uid for one in self._instances(chosen))

    def select(self, identifier: Dataset) -> list[IndexedInstance]:
        """Instances of the entities that a C-MOVE or C-GET identifier names by their unique keys."""
        wanted = {keyword: _values(identifier, keyword) for keyword in LEVELS.values()}
        if not any(wanted.values()):
            return []
        return [
            one
            for one in self._instances(wanted[LEVELS["STUDY"]])
            if all(
                not values or (one.attributes.get(keyword) or [""])[0] in values
                for keyword, values in wanted.items()
            )
        ]

    def find(self, identifier: Dataset) -> list[Dataset]:
        """The answers to a C-FIND identifier, one an entity at its Query/Retrieve Level.

        Raises:
            Permanent: the level is missing or unknown.
        """
        level = str(identifier.get("QueryRetrieveLevel", ""))
        if level not in LEVELS:
            raise Permanent("the identifier has no Query/Retrieve Level that exists")
        groups: dict[str, list[IndexedInstance]] = defaultdict(list)
        below_one_study = level != "PATIENT" and not any(
            "Patient" in e.keyword for e in identifier if e.keyword in _COUNTED
        )
        everything = self._instances(_values(identifier, LEVELS["STUDY"]) if below_one_study else [])
        for one in everything:
            groups[one.key(level)].append(one)
        answers = (self._answer(identifier, level, group, everything) for group in groups.values())
        return [answer for answer in answers if answer is not None]

    def _answer(
        self,
        identifier: Dataset,
        level: str,
        group: Sequence[IndexedInstance],
        everything: Sequence[IndexedInstance],
    ) -> Dataset | None:
        from pydicom.dataset import Dataset

        held = dict(group[0].attributes)
        if any(element.keyword in _COUNTED for element in identifier):
            held |= _counts(group[0], everything)
        answer = Dataset()
        answer.SpecificCharacterSet = "ISO_IR 192"
        for element in identifier:
            keyword = element.keyword
            if keyword in ("QueryRetrieveLevel", "SpecificCharacterSet") or element.VR == "SQ" or not keyword:
                continue
            values = held.get(keyword, [])
            supported = keyword in INDEXED or keyword in _COUNTED
            if supported and not matches(element.VR, _values(identifier, keyword), values):
                return None
            setattr(answer, keyword, values if len(values) > 1 else "".join(values))
        answer.QueryRetrieveLevel = level
        return answer

    def _instances(self, study_instance_uids: Sequence[str]) -> list[IndexedInstance]:
        """All instances of these studies, or of every study where none is named, in the order of arrival."""
        marks = ", ".join("?" * len(study_instance_uids))
        condition = f"WHERE study_instance_uid IN ({marks}) " if study_instance_uids else ""
        rows = self._rows(
            "SELECT sop_instance_uid, study_instance_uid, series_instance_uid, sop_class_uid, "  # noqa: S608
            f"transfer_syntax_uid, path, attributes FROM instance {condition}ORDER BY rowid",
            *study_instance_uids,
        )
        return [
            IndexedInstance(sop, study, series, sop_class, syntax, Path(path), json.loads(attributes))
            for sop, study, series, sop_class, syntax, path, attributes in rows
        ]

    def _rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with self._lock, closing(self._connection.cursor()) as cursor:
            return cursor.execute(query, values).fetchall()

    def _insert(self, data_set: Dataset, path: Path, digest: str, transfer_syntax_uid: str) -> None:
        attributes = {keyword: _values(data_set, keyword) for keyword in INDEXED if keyword in data_set}
        self._connection.execute(
            "INSERT OR IGNORE INTO instance VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                str(data_set.SOPInstanceUID),
                str(data_set.StudyInstanceUID),
                str(data_set.SeriesInstanceUID),
                str(data_set.get("SOPClassUID", "")),
                transfer_syntax_uid,
                digest,
                str(path),
                json.dumps(attributes, ensure_ascii=False),
            ),
        )


_COUNTED = frozenset(
    {
        "ModalitiesInStudy", "SOPClassesInStudy", "NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries",
        "NumberOfPatientRelatedInstances", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
        "NumberOfSeriesRelatedInstances",
    }
)  # fmt: skip


def _counts(one: IndexedInstance, everything: Sequence[IndexedInstance]) -> dict[str, list[str]]:
    """The attributes that an archive computes (PS3.4 C.3.4): of the patient, study and series of `one`."""
    of_patient = [other for other in everything if other.key("PATIENT") == one.key("PATIENT")]
    of_study = [other for other in everything if other.study_instance_uid == one.study_instance_uid]
    of_series = [other for other in of_study if other.series_instance_uid == one.series_instance_uid]
    return {
        "ModalitiesInStudy": sorted({m for other in of_study for m in other.attributes.get("Modality", [])}),
        "SOPClassesInStudy": sorted({other.sop_class_uid for other in of_study}),
        "NumberOfPatientRelatedStudies": [str(len({other.study_instance_uid for other in of_patient}))],
        "NumberOfPatientRelatedSeries": [str(len({other.series_instance_uid for other in of_patient}))],
        "NumberOfPatientRelatedInstances": [str(len(of_patient))],
        "NumberOfStudyRelatedSeries": [str(len({other.series_instance_uid for other in of_study}))],
        "NumberOfStudyRelatedInstances": [str(len(of_study))],
        "NumberOfSeriesRelatedInstances": [str(len(of_series))],
    }


def _values(data_set: Dataset, keyword: str) -> list[str]:
    """The values of an attribute as text; none where it is absent or empty."""
    from pydicom.multival import MultiValue

    value = data_set.get(keyword)
    if value is None or value == "":
        return []
    return [str(one) for one in value] if isinstance(value, MultiValue | list) else [str(value)]
