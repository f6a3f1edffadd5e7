"""What REDCap's Incoming is told of a study: rows with FIONA's names, patient identifiers only as keyed hashes.

Stage `ClassifiedStudy -> RegisteredStudy`. Names and meanings: fiona-behaviour 3.1, redcap-contract 5 and 6. FIONA
stored plain SHA-256 of name and id, which anybody can undo by trying all national identity numbers; here they are
HMACs with the site's key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from fiona_dagster.domain.classification import ClassifiedSeries

SERIES, TRANSFERS, STUDIES = "series", "transfers", "incoming_studies"
"""Instruments of Incoming."""
RECORD = "study_instance_uid"
_LONGEST_TEXT = 1000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_DA = re.compile(r"^(\d{4})[-.]?(\d{2})[-.]?(\d{2})$", re.ASCII)
_TM = re.compile(r"^(\d{2}):?(\d{2})?:?(\d{2})?(?:\.\d{1,6})?$", re.ASCII)


class StudyStatus(IntEnum):
    """`study_status`."""

    RECEIVING = 0
    COMPLETE = 1
    ASSIGNED = 2
    TRANSFERRED = 3
    FAILED = 4
    IGNORED = 5
    PURGED = 6


class BurnedIn(IntEnum):
    """`series_burned_in`: text in the pixels of a series, as far as anybody has looked."""

    NONE = 0
    SUSPECTED = 1
    PRESENT = 2
    REDACTED = 3


class StudySource(IntEnum):
    """`study_source`."""

    C_STORE = 1
    STOW = 2
    UPLOAD = 3
    WHOLE_SLIDE = 4
    RESULT = 5


class TransferStatus(IntEnum):
    """`transfer_status`."""

    REQUESTED = 0
    QUEUED = 1
    RUNNING = 2
    DONE = 3
    FAILED = 4
    CANCELLED = 5


TRANSFER_SOURCES = {
    "assign": 1, "coupling": 2, "routing": 3, "autoid": 4, "result": 5, "resend": 6, "rule": 7,
}  # fmt: skip
"""`transfer_source` by the name that routing uses."""


@dataclass(frozen=True)
class StudyRegistration:
    """A study and its series as Incoming shall know them.

    Attributes:
        patient_name_hash, patient_id_hash: made by `patient_hash`; empty where the study has no value.
        study_date, study_time: DICOM DA and TM as received.
        arrival_date: first instance, `YYYY-mm-dd HH:MM`; what Incoming already has is kept.
        last_instance_date: latest instance, `YYYY-mm-dd HH:MM:SS`.
        expires: `YYYY-mm-dd`, or empty.
        burned_in: what is known of text in pixels, by Series Instance UID; of others nothing is said.
    """

    study_instance_uid: str = field(repr=False)
    institution: str
    sender_ae_title: str
    addressed_ae_title: str
    patient_name_hash: str = field(repr=False)
    patient_id_hash: str = field(repr=False)
    description: str = field(repr=False)
    study_date: str = field(repr=False)
    study_time: str = field(repr=False)
    accession_number: str = field(repr=False)
    arrival_date: str
    series: tuple[ClassifiedSeries, ...] = field(repr=False)
    last_instance_date: str = ""
    sender_ip: str = field(default="", repr=False)
    status: StudyStatus = StudyStatus.COMPLETE
    source: StudySource = StudySource.C_STORE
    expires: str = ""
    burned_in: Mapping[str, BurnedIn] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class RegisteredStudy:
    """A study that Incoming is known to have: `instances` is the repeat instance of each series, read back."""

    study_instance_uid: str = field(repr=False)
    instances: Mapping[str, int] = field(repr=False)


@dataclass(frozen=True)
class RegistrationReceipt:
    """What registering changed. Rows are those of REDCap: one a study, one a series."""

    studies: tuple[RegisteredStudy, ...]
    rows_written: int
    rows_unchanged: int


@dataclass(frozen=True)
class TransferRow:
    """A row of `transfers`: what was asked for and what became of it. None leaves what Incoming has.

    Dates are `YYYY-mm-dd HH:MM`. FIONA sets `transfer_date` when an attempt ends, also in failure.

    Attributes:
        participant: `transfer_name`.
        pixels_redacted: box 3 of `transfer_error`, which is no error.
        mapped_uid: Study Instance UID in the research archive; several separated by commas.
        messages: of the latest attempt, without patient data.
        active_seconds: working time of the latest attempt.
    """

    study_instance_uid: str = field(repr=False)
    project: str
    participant: str = field(repr=False)
    event: str
    transfer_key: str
    status: TransferStatus
    requested_date: str | None = None
    requested_by: str | None = None
    source: str | None = None
    rule: str | None = None
    transfer_date: str | None = None
    deidentification_failed: bool = False
    send_failed: bool = False
    pixels_redacted: bool = False
    mapped_uid: str | None = field(default=None, repr=False)
    messages: tuple[str, ...] = ()
    active_seconds: float | None = None
    profile: str | None = None
    num_files: int | None = None
    run_id: str | None = None
    attempts: int | None = None


@dataclass(frozen=True)
class PendingTransfer:
    """A row of `transfers` that asks for work: never carried out, or requested again since."""

    study_instance_uid: str = field(repr=False)
    project: str
    participant: str = field(repr=False)
    event: str
    requested_by: str
    requested_date: str
    transfer_key: str
    instance: int


def patient_hash(value: str, key: bytes) -> str:
    """HMAC-SHA-256 of a PatientID or PatientName with the site's key: 64 hexadecimal digits.

    Blanks around the value do not count (PS3.5 pads with them). An empty value gives an empty text, so that patients
    without an id are not taken for one patient.
    """
    stripped = value.strip(" \x00")
    return hmac.new(key, stripped.encode(), hashlib.sha256).hexdigest() if stripped else ""


def incoming_rows(study: StudyRegistration) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The study's row and its series rows, by REDCap's field names. Series rows have no repeat instance yet.

    Series are ordered by number and UID, so that equal studies make equal rows.
    """
    series = sorted(
        study.series, key=lambda one: (int(_whole(one.series_number) or 0), one.series_instance_uid)
    )
    modalities = sorted({one.modality for one in series if one.modality})
    base = {
        RECORD: study.study_instance_uid,
        "study_institution_name": _text(study.institution),
        "study_aetitle_sender": _text(study.sender_ae_title),
        "study_aetitle_addressed": _text(study.addressed_ae_title),
        "study_patient_name": study.patient_name_hash,
        "study_patient_id": study.patient_id_hash,
        "study_description": _text(study.description),
        "study_date": fiona_date(study.study_date),
        "study_time": fiona_time(study.study_time),
        "study_accession_number": _text(study.accession_number),
        "study_arrival_date": study.arrival_date,
        "study_sender_ip": _text(study.sender_ip),
        "study_source": str(int(study.source)),
        "study_modalities": "\\".join(modalities),
        "study_num_series": str(len(series)),
        "study_num_files": str(sum(one.instance_count for one in series)),
        "study_last_file_date": study.last_instance_date,
        "study_status": str(int(study.status)),
        "study_expires": study.expires,
        f"{STUDIES}_complete": "2",
    }
    rows = [_series_row(study.study_instance_uid, one) for one in series]
    for row in rows:
        known = study.burned_in.get(row["series_instance_uid"])
        if known is not None:
            row["series_burned_in"] = str(int(known))
    return base, rows


def transfer_fields(row: TransferRow) -> dict[str, str]:
    """The values of a row of `transfers`; what the row leaves open is absent."""
    optional = {
        "transfer_requested_date": row.requested_date,
        "transfer_requested_by": row.requested_by,
        "transfer_source": None if row.source is None else str(TRANSFER_SOURCES[row.source]),
        "transfer_rule": row.rule,
        "transfer_date": row.transfer_date,
        "transfer_mapped_uid": row.mapped_uid,
        "transfer_active_proc_time": None if row.active_seconds is None else str(round(row.active_seconds)),
        "transfer_profile": row.profile,
        "transfer_num_files": None if row.num_files is None else str(row.num_files),
        "transfer_run_id": row.run_id,
        "transfer_attempts": None if row.attempts is None else str(row.attempts),
    }
    values = {
        "transfer_project_name": row.project,
        "transfer_name": row.participant,
        "transfer_event_name": row.event,
        "transfer_key": row.transfer_key,
        "transfer_status": str(int(row.status)),
        f"{TRANSFERS}_complete": {TransferStatus.DONE: "2", TransferStatus.FAILED: "1"}.get(row.status, "0"),
        **{name: value for name, value in optional.items() if value},
    }
    if row.transfer_date:
        boxes = (row.deidentification_failed, row.send_failed, row.pixels_redacted)
        values |= {f"transfer_error___{code}": str(int(box)) for code, box in enumerate(boxes, start=1)}
        values["transfer_error_message"] = json.dumps(list(row.messages), ensure_ascii=False)
    return values


def is_pending(fields: Mapping[str, str]) -> bool:
    """Whether a row of `transfers` asks for work (createTransferRequests.py, resendProject.py).

    Project, name and requested date are given, the transfer was not cancelled, and it was never carried out or was
    requested after that. FIONA's dates have minutes only: requested in the minute of the transfer is not again.
    """
    requested, done = fields.get("transfer_requested_date", ""), fields.get("transfer_date", "")
    return bool(
        requested
        and fields.get("transfer_project_name")
        and fields.get("transfer_name")
        and fields.get("transfer_status") != str(int(TransferStatus.CANCELLED))
        and (not done or done < requested)
    )


def fiona_date(value: str) -> str:
    """A DICOM DA as FIONA stores it: `YYYYMMDD`; the old `YYYY.MM.DD` too. What is no date becomes empty."""
    found = _DA.match(value.strip())
    return "".join(found.groups()) if found else ""


def fiona_time(value: str) -> str:
    """A DICOM TM as FIONA stores it: `HHMMSS` without fraction; missing parts are 00. What is no time becomes empty."""
    found = _TM.match(value.strip())
    return "".join(part or "00" for part in found.groups()) if found else ""


def _series_row(study_instance_uid: str, one: ClassifiedSeries) -> dict[str, str]:
    return {
        RECORD: study_instance_uid,
        "redcap_repeat_instrument": SERIES,
        "series_instance_uid": one.series_instance_uid,
        "series_description": _text(one.series_description),
        "series_date": fiona_date(one.series_date),
        "series_time": fiona_time(one.series_time),
        "series_num_files": str(one.instance_count),
        "series_sequence_name": _text(one.sequence_name),
        "series_classify_types": json.dumps(list(one.types), ensure_ascii=False),
        "series_number": _whole(one.series_number),
        "series_modality": _text(one.modality),
        "series_body_part": _text(one.body_part),
        "series_bytes": str(one.size_bytes),
        f"{SERIES}_complete": "2",
    }


def _text(value: str) -> str:
    """One line without control characters or blanks around it, as REDCap gives it back."""
    return _CONTROL.sub(" ", value).strip()[:_LONGEST_TEXT].rstrip()


def _whole(value: str) -> str:
    """A DICOM IS as a whole number, or empty."""
    stripped = value.strip()
    return str(int(stripped)) if re.fullmatch(r"[-+]?\d{1,12}", stripped, re.ASCII) else ""
