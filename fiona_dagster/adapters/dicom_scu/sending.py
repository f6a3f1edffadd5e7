"""What became of files that were sent: the peer's Status of each, in words, and whether trying again can help."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fiona_dagster.adapters.dicom_scu import messages
from fiona_dagster.adapters.dicom_scu.part10 import StoredInstance
from fiona_dagster.domain.errors import Permanent, Transient

_MAY_PASS = frozenset({0x0110, 0x0213, 0xFE00})
"""Processing failure, resource limitation, cancelled: the same instance may be stored later (PS3.7 annex C.5)."""


@dataclass(frozen=True)
class SendOutcome:
    """What became of one file. `status`: the peer's DIMSE Status, None where it gave none."""

    path: Path = field(repr=False)
    sop_instance_uid: str = field(repr=False)
    status: int | None
    problem: str = ""
    """Why it was not stored; of one that was, the peer's Warning."""
    retry: bool = False
    sent_as: str = ""
    """Transfer Syntax UID where it was transcoded for the peer."""

    @property
    def stored(self) -> bool:
        """Success, or a Warning: the peer has it (PS3.4 B.2.3)."""
        return self.status is not None and is_stored(self.status)


@dataclass(frozen=True)
class SendReport:
    """One outcome a file, in the order of the paths."""

    outcomes: tuple[SendOutcome, ...]

    @property
    def stored(self) -> tuple[SendOutcome, ...]:
        return tuple(one for one in self.outcomes if one.stored)

    @property
    def failed(self) -> tuple[SendOutcome, ...]:
        return tuple(one for one in self.outcomes if not one.stored)

    def raise_for_failures(self) -> None:
        """Turn failures into the error that says whether to try again.

        Raises:
            Transient: at least one instance may be stored later.
            Permanent: none of the failed ones can be.
        """
        if not self.failed:
            return
        problems = "; ".join(sorted({one.problem for one in self.failed}))
        text = f"{len(self.failed)} of {len(self.outcomes)} instances were not stored: {problems}"
        raise (Transient if any(one.retry for one in self.failed) else Permanent)(text)


def outcome_of(instance: StoredInstance, status: int, sent_as: str = "") -> SendOutcome:
    """What a peer's Status says; `sent_as`: the Transfer Syntax UID, where it is not the file's own."""
    stored = is_stored(status)
    return SendOutcome(
        instance.path,
        instance.sop_instance_uid,
        status,
        "" if status == messages.SUCCESS else status_name(status),
        retry=not stored and (status >> 8 == 0xA7 or status in _MAY_PASS),
        sent_as=sent_as,
    )


def failure(instance: StoredInstance, problem: str, *, retry: bool = False) -> SendOutcome:
    """An instance that got no answer."""
    return SendOutcome(instance.path, instance.sop_instance_uid, None, problem, retry)


def is_stored(status: int) -> bool:
    """Success, or one of the Warnings (PS3.4 B.2.3, PS3.7 annex C)."""
    return status == messages.SUCCESS or status >> 12 == 0xB or status in (0x0001, 0x0107, 0x0116)


def status_name(status: int) -> str:
    """The Status in words of the standard; the peer's Error Comment is left out, for it may name a patient."""
    from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS

    _, text = STORAGE_SERVICE_CLASS_STATUS.get(status, ("", ""))
    return f"the peer answered 0x{status:04X} {text}".rstrip()
