"""REDCap's side of reconciliation: what Incoming says of every study, and WhatIsInIDS7 kept like the archive."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from fiona_dagster.adapters.reconciliation_inventory import InventoryEntry
from fiona_dagster.adapters.redcap.client import Row, batches
from fiona_dagster.adapters.redcap.registry import RedcapRegistry
from fiona_dagster.adapters.redcap.repeating import INSTRUMENT
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.reconciliation import ExpectedStudy, RegisteredRow, RegisteredTransfer
from fiona_dagster.domain.registration import RECORD, TRANSFERS, TransferStatus, is_pending

ROLE, RECORD_ID = "WhatIsInIDS7", "record_id"
DELETED_AT_ONCE = 200
MOST_GONE, MOST_GONE_SHARE = 10, 0.1
"""More studies than both of these do not vanish in a day: a person confirms that they did."""
_WANTED = (
    RECORD, "study_num_files", "study_source", "transfer_key", "transfer_project_name", "transfer_name",
    "transfer_event_name", "transfer_status", "transfer_requested_date", "transfer_date", "transfer_mapped_uid",
)  # fmt: skip
_FIELDS = {
    "ids7_patient_name": "PatientName", "ids7_patient_id": "PatientID",
    "ids7_study_description": "StudyDescription", "ids7_institution_name": "InstitutionName",
    "ids7_referring_physician": "ReferringPhysicianName", "ids7_study_time": "StudyTime",
    "ids7_study_date": "StudyDate", "ids7_study_id": "StudyID", "ids7_accession_number": "AccessionNumber",
    "ids7_modalities": "ModalitiesInStudy",
}  # fmt: skip
_OF_STRANGERS = frozenset({"ids7_modalities"})
"""Nobody de-identified a study that nobody released: what it is called stays in the archive."""


@dataclass(frozen=True)
class InventoryReceipt:
    """What became of WhatIsInIDS7. `doubted`: entries that were not deleted, because too many are said to be gone."""

    written: int
    unchanged: int
    deleted: int
    doubted: int


def registered_studies(registry: RedcapRegistry) -> dict[str, RegisteredRow]:
    """Incoming's account, by Study Instance UID; one call of the few fields that are compared.

    Raises:
        Transient, Permanent, ConfigurationError: it cannot be read; then nothing is known.
    """
    project = registry.client("Incoming")
    fields = [name for name in _WANTED if name in set(project.field_names)]
    studies: dict[str, dict[str, Any]] = {}
    transfers: dict[str, list[RegisteredTransfer]] = {}
    for row in project.rows(fields=fields):
        uid = str(row[RECORD])
        if not row.get(INSTRUMENT):
            studies[uid] = row
        elif row[INSTRUMENT] == TRANSFERS:
            transfers.setdefault(uid, []).append(_transfer(row))
    return {
        uid: RegisteredRow(
            uid,
            _number(row.get("study_num_files")),
            ours=bool(row.get("study_source")),
            transfers=tuple(transfers.get(uid, ())),
        )
        for uid in studies.keys() | transfers.keys()
        for row in [studies.get(uid, {})]
    }


def expected_studies(registry: RedcapRegistry, *, before: str) -> list[ExpectedStudy]:
    """Entries of the coupling list that were made before a minute (`YYYY-mm-dd HH:MM`) and never used."""
    return [
        ExpectedStudy(one.record_id, one.project, one.accession_number, one.study_instance_uid)
        for one in registry.coupling_entries()
        if not one.used and one.date and one.date < before
    ]


def keep_inventory(
    registry: RedcapRegistry,
    entries: Mapping[str, InventoryEntry],
    gone: Collection[str],
    *,
    known: Collection[str],
    day: str,
    believe: bool,
) -> InventoryReceipt:
    """Make WhatIsInIDS7 say what the archive said; what it did not speak of stays.

    Args:
        registry: REDCap.
        entries: what the archive has.
        gone: Study Instance UIDs that it positively does not have.
        known: Study Instance UIDs of copies that we or FIONA sent; of others only numbers are written.
        day: `YYYY-mm-dd`, since when values stand (`ids7_date_stamp`).
        believe: a person confirmed that many are gone.

    Raises:
        Transient, Permanent, ConfigurationError: REDCap is down or refuses.
    """
    project = registry.client(ROLE)
    present = {str(row[RECORD_ID]): row for row in project.rows()}
    ours: list[Row] = []
    strangers: list[Row] = []
    for uid, entry in entries.items():
        row = _row(entry, named=uid in known)
        now = present.get(uid, {})
        if any(str(now.get(name) or "") != value for name, value in row.items()):
            (ours if uid in known else strangers).append(
                {**row, "ids7_date_stamp": day, "ids7_complete": "2"}
            )
    project.write_rows(ours, overwrite=True)
    project.write_rows(strangers)
    vanished = sorted(set(gone) & present.keys() - entries.keys())
    doubted = len(vanished) > max(MOST_GONE, MOST_GONE_SHARE * len(present)) and not believe
    if not doubted:
        for part in batches(vanished, DELETED_AT_ONCE):
            if int(str(project.delete_records(list(part)))) != len(part):
                raise Permanent("REDCap did not delete as many records as it was asked to")
    written = len(ours) + len(strangers)
    return InventoryReceipt(
        written,
        len(entries) - written,
        0 if doubted else len(vanished),
        len(vanished) if doubted else 0,
    )


def _row(entry: InventoryEntry, *, named: bool) -> dict[str, str]:
    """A record of WhatIsInIDS7; numbers that nobody counted leave what is there."""
    row = {RECORD_ID: entry.study_instance_uid}
    row |= {
        name: " ".join(entry.values.get(keyword, "").split())
        for name, keyword in _FIELDS.items()
        if named or name in _OF_STRANGERS
    }
    numbers = {"ids7_number_of_series": entry.series, "ids7_number_of_instances": entry.images}
    return row | {name: str(number) for name, number in numbers.items() if number is not None}


def _transfer(row: Mapping[str, Any]) -> RegisteredTransfer:
    status = str(row.get("transfer_status", ""))
    known = {str(int(one)): one for one in TransferStatus}
    return RegisteredTransfer(
        str(row.get("transfer_key", "")),
        str(row["transfer_project_name"]).strip(),
        str(row["transfer_name"]).strip(),
        str(row.get("transfer_event_name", "")).strip(),
        known.get(status),
        str(row["transfer_requested_date"]),
        pending=is_pending(row),
        copies=tuple(
            uid for one in str(row.get("transfer_mapped_uid", "")).split(",") if (uid := one.strip())
        ),
    )


def _number(value: object) -> int | None:
    text = str(value or "")
    return int(text) if text.isdigit() else None
