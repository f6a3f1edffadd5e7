"""Entries of the coupling list written and taken away, one writer of a gateway at a time."""

from __future__ import annotations

from collections.abc import Sequence

from filelock import FileLock, Timeout

from fiona_dagster.adapters.redcap.client import IMPORT_ROWS, batches
from fiona_dagster.adapters.redcap.registry import RedcapRegistry
from fiona_dagster.domain.coupling import CouplingEntry
from fiona_dagster.domain.errors import Permanent, Transient

_LOCK_SECONDS = 120.0
_ROUNDS = 5


def add_entries(
    registry: RedcapRegistry, entries: Sequence[CouplingEntry], *, when: str, who: str, batch: str
) -> list[str]:
    """Add entries to the list, read back until each is there under a number of its own.

    Args:
        registry: REDCap.
        entries: without numbers.
        when: `YYYY-mm-dd HH:MM`.
        who: login name.
        batch: names the upload (`cl_batch`), another one each time.

    Returns: the numbers, in the order of the entries.

    Raises:
        Transient: REDCap does not answer; what was written of the batch is found again when it is repeated as a whole.
    """
    project = registry.client("CouplingList")
    columns = set(project.field_names)
    extra = {"cl_batch": batch, "cl_uploaded_by": who, "coupling_list_complete": "2"}
    failure = Transient("CouplingList does not keep what is written into it; is somebody else uploading?")
    try:
        with FileLock(registry.lock_file("coupling")).acquire(timeout=_LOCK_SECONDS):
            for _ in range(_ROUNDS):
                numbers = {str(row["record_id"]): row for row in project.rows()}
                found = [_number(numbers, entry, when) for entry in entries]
                if all(found):
                    return [str(one) for one in found]
                rows = []
                for number, entry in enumerate(
                    e for e, there in zip(entries, found, strict=True) if not there
                ):
                    values = {**_fields(entry, when), **extra}
                    known = {name: value for name, value in values.items() if name in columns}
                    rows.append({"record_id": str(number + 1), **known})
                try:
                    for part in batches(rows, IMPORT_ROWS):
                        # only REDCap can number without taking the number that a person is about to save
                        project.import_records(list(part), force_auto_number=True)
                except Transient as error:  # what came of it, the next look tells
                    failure = error
    except Timeout as error:
        raise Transient("another process has been writing into the coupling list for minutes") from error
    raise failure


def remove_expired(registry: RedcapRegistry, *, day: str) -> int:
    """Delete entries that expired before a day (ISO); needs the right Delete Record on CouplingList.

    Returns: how many.

    Raises:
        Permanent: REDCap refuses; the right may be missing.
    """
    gone = [entry.record_id for entry in registry.coupling_entries() if entry.is_expired(day)]
    if gone:
        deleted = registry.client("CouplingList").delete_records(gone)
        if int(str(deleted)) != len(gone):
            raise Permanent("REDCap did not delete as many entries as it was asked to")
    return len(gone)


def _fields(entry: CouplingEntry, when: str) -> dict[str, str]:
    return {
        "cl_accessionnumber": entry.accession_number,
        "cl_studyinstanceuid": entry.study_instance_uid,
        "cl_projectname": entry.project,
        "cl_subjectid": entry.participant,
        "cl_eventname": entry.event,
        "cl_date": when,
    }


def _number(numbers: dict[str, dict[str, object]], entry: CouplingEntry, when: str) -> str | None:
    """The number under which an entry of this minute is in the list."""
    wanted = _fields(entry, when)
    for number, row in numbers.items():
        if all(str(row.get(name) or "").strip() == value for name, value in wanted.items()):
            return number
    return None
