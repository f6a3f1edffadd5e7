"""What reception knows of an instance, and what it decides at the door. First type of the way through the house."""

from __future__ import annotations

from dataclasses import dataclass

from fiona_dagster.domain.identifiers import SeriesInstanceUID, SOPInstanceUID, StudyInstanceUID


@dataclass(frozen=True)
class Peer:
    """Who sent it and whom they called; the called AE title carries routing intent."""

    calling_ae: str
    called_ae: str
    address: str


@dataclass(frozen=True)
class ReceivedInstance:
    """One SOP Instance, durable on disk.

    `sha256` covers the data set (without preamble and file meta); `size_bytes` the file; `path` is relative to
    the site's DATADIR; `received_at` in seconds since the epoch. `aside`: other content under a known UID.
    """

    site: str
    study_instance_uid: StudyInstanceUID
    series_instance_uid: SeriesInstanceUID
    sop_instance_uid: SOPInstanceUID
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str
    sha256: str
    size_bytes: int
    path: str
    received_at: float
    peer: Peer
    patient_id: str = ""
    patient_name: str = ""
    accession_number: str = ""
    study_date: str = ""
    study_time: str = ""
    study_description: str = ""
    institution_name: str = ""
    aside: bool = False


@dataclass(frozen=True)
class Refusal:
    """Something that was not accepted, with the Status that the sender saw. `reason` holds no patient data."""

    site: str
    status: int
    reason: str
    at: float
    peer: Peer
    path: str | None = None
