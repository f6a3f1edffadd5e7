"""What reception knows of an instance, and what it decides at the door. First type of the way through the house."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.uid import AllTransferSyntaxes

from fiona_dagster.domain.dimse_status import Status
from fiona_dagster.domain.identifiers import (
    SeriesInstanceUID,
    SOPInstanceUID,
    StudyInstanceUID,
    is_safe_uid_path,
    modality_code,
)

IMPLEMENTATION_CLASS_UID = "2.25.130944448402788955883328024521353264136"
IMPLEMENTATION_VERSION_NAME = "FIONADAGSTER_0.1"

_NOT_IN_A_LOG = re.compile(r"[^A-Za-z0-9_.-]")
_KNOWN_TRANSFER_SYNTAXES = frozenset(map(str, AllTransferSyntaxes))


@dataclass(frozen=True)
class Peer:
    """Who sent it and whom they called; the called AE title carries routing intent."""

    calling_ae: str
    called_ae: str
    address: str

    def __str__(self) -> str:
        """For a log: names as far as they are letters, digits and what AE titles have between them."""
        names = [_NOT_IN_A_LOG.sub("?", one) or "nobody" for one in (self.calling_ae, self.called_ae)]
        where = self.address or "an unknown address"
        return (
            f"{names[0]} calling {names[1]} from {where}" if any((self.calling_ae, self.called_ae)) else where
        )


@dataclass(frozen=True)
class ReceivedInstance:
    """One SOP Instance, durable on disk.

    `sha256` covers the data set (without preamble and file meta); `size_bytes` the file; `path` is relative to
    the site's DATADIR; `received_at` in seconds since the epoch. `aside`: other content under a known UID. `new`: its
    file was not there before.
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
    new: bool = False


@dataclass(frozen=True)
class Refusal:
    """Something that was not accepted, with the Status that the sender saw. `reason` holds no patient data."""

    site: str
    status: int
    reason: str
    at: float
    peer: Peer
    path: str | None = None
    times: int = 1
    """How many of the kind: a flood of refusals is summed up."""


@dataclass(frozen=True)
class InstanceHeader:
    """The attributes of a data set that reception needs; an absent one is an empty string."""

    study_instance_uid: str = ""
    series_instance_uid: str = ""
    sop_instance_uid: str = ""
    sop_class_uid: str = ""
    modality: str = ""
    manufacturer: str = ""
    patient_id: str = ""
    patient_name: str = ""
    accession_number: str = ""
    study_date: str = ""
    study_time: str = ""
    study_description: str = ""
    institution_name: str = ""


@dataclass(frozen=True)
class StoreRequest:
    """What a C-STORE request says of its data set (PS3.7 section 9.1.1), or the File Meta Information of one that
    came over the web, where the request may also name the only study that it is for (PS3.18 section 10.5)."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str = ""


def is_enabled(control: str | None) -> bool:
    """Whether FIONA's control file lets the receiver run: its first character is not `0` (fiona-behaviour 1.3).

    `control` is the file's content, None where there is no file.
    """
    return control is None or control.lstrip()[:1] != "0"


def admit_instance(header: InstanceHeader, request: StoreRequest) -> Status:
    """Whether a complete data set may enter the archive."""
    for uid, status in (
        (header.sop_instance_uid, Status.CANNOT_UNDERSTAND_NO_SOP_UID),
        (header.study_instance_uid, Status.CANNOT_UNDERSTAND_NO_STUDY_UID),
        (header.series_instance_uid, Status.CANNOT_UNDERSTAND_NO_SERIES_UID),
    ):
        if not uid:
            return status
        if not is_safe_uid_path(uid):
            return Status.CANNOT_UNDERSTAND_UNSAFE_UID
    if header.sop_instance_uid != request.sop_instance_uid:
        return Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS
    if header.sop_class_uid and header.sop_class_uid != request.sop_class_uid:
        return Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS
    if request.study_instance_uid not in ("", header.study_instance_uid):
        return Status.CANNOT_UNDERSTAND_OTHER_STUDY
    return Status.SUCCESS


def by_preference(transfer_syntaxes: Sequence[str]) -> list[str]:
    """Proposed Transfer Syntaxes in the order in which we would take them: the standard's before private ones.

    Among those the sender's own order stands, so that nothing is converted on our account.
    """
    return sorted(transfer_syntaxes, key=lambda uid: uid not in _KNOWN_TRANSFER_SYNTAXES)


def received_instance(
    header: InstanceHeader,
    request: StoreRequest,
    *,
    site: str,
    sha256: str,
    size_bytes: int,
    path: str,
    received_at: float,
    peer: Peer,
    aside: bool,
    new: bool = False,
) -> ReceivedInstance:
    """The record of an admitted data set; values longer than the ledger's columns are cut, and a Modality that is no
    code is OT: it is shown to people, and may hold anything."""
    return ReceivedInstance(
        site=site,
        study_instance_uid=StudyInstanceUID(header.study_instance_uid),
        series_instance_uid=SeriesInstanceUID(header.series_instance_uid),
        sop_instance_uid=SOPInstanceUID(header.sop_instance_uid),
        sop_class_uid=(header.sop_class_uid or request.sop_class_uid)[:64],
        transfer_syntax_uid=request.transfer_syntax_uid[:64],
        modality=modality_code(header.modality),
        sha256=sha256,
        size_bytes=size_bytes,
        path=path,
        received_at=received_at,
        peer=peer,
        patient_id=header.patient_id,
        patient_name=header.patient_name,
        accession_number=header.accession_number,
        study_date=header.study_date[:16],
        study_time=header.study_time[:32],
        study_description=header.study_description,
        institution_name=header.institution_name,
        aside=aside,
        new=new,
    )
