"""Copies that should not be where they are any more: a participant withdrew, or a study was assigned wrongly.

C-MOVE copies and never deletes, and DICOM has no deletion: an archive is asked to hide instances by a rejection note
(IHE RAD TF-2 4.66, Imaging Object Change Management), and what still shows them afterwards is left to a person.
Gone is only what a destination does not show any more (law 5, the other way round).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """Why copies are retired."""

    WITHDRAWN = "withdrawn"
    REASSIGNED = "reassigned"
    ENDED = "ended"

    @property
    def reason(self) -> str:
        """The reason of the retired transfer and of its instances."""
        return _REASONS[self]

    @property
    def note_title(self) -> tuple[str, str]:
        """Code and meaning of the rejection note's Document Title (PS3.16 CID 7011), coding scheme DCM."""
        return _TITLES[self]


_REASONS = {
    Cause.WITHDRAWN: "the participant withdrew from the project",
    Cause.REASSIGNED: "it was assigned wrongly, and elsewhere since",
    Cause.ENDED: "the project ended",
}
_TITLES = {
    Cause.WITHDRAWN: ("113039", "Data Retention Policy Expired"),
    Cause.ENDED: ("113039", "Data Retention Policy Expired"),
    Cause.REASSIGNED: ("113038", "Incorrect Modality Worklist Entry"),
}
WITHDRAWN_BEFORE = "the participant withdrew from this project: nothing more is released"
"""Why the copies of a transfer that came after the withdrawal are held."""


class Outcome(StrEnum):
    """What became of a copy."""

    GONE = "gone"  # it is not shown, or was deleted and looked for in vain
    PERSON = "person"  # somebody must delete it: we cannot, or the recipient took it
    LATER = "later"  # the destination does not answer: tried again


@dataclass(frozen=True)
class CopyReceipt:
    """What became of a transfer's copies at one place.

    `kind`: pacs, package, export (made by hand), outbox, copies (our own de-identified files); `place`: of the
    destination; `name`: of a package; `count`: instances or files; `detail` says what was found and what a person must
    do. No patient data.
    """

    transfer_id: int
    kind: str
    place: str
    outcome: Outcome
    name: str = ""
    count: int = 0
    detail: str = ""
    at: float = 0.0


def package_receipt(
    *, found: int | None, recorded: int, removed: bool, confirmed: bool = True
) -> tuple[Outcome, str]:
    """What became of a package that was sent.

    Args:
        found: its size in bytes at the destination before we did anything; None: it was not there.
        recorded: its size when it was confirmed.
        removed: whether it was deleted with its parts, and looked for in vain afterwards.
        confirmed: whether its delivery had come to its end.
    """
    if found is None and not confirmed:
        if removed:
            return Outcome.GONE, "its delivery was broken off: no part of it is there"
        return Outcome.PERSON, "the destination does not let us delete what was sent of it: its owner must"
    if found is None:
        return Outcome.PERSON, "it was not there any more: whoever took it must delete it"
    if found != recorded:
        return Outcome.PERSON, "another file has its name: look at it, and delete it by hand"
    if not removed:
        return Outcome.PERSON, "the destination does not let us delete it: its owner must"
    return Outcome.GONE, "deleted, and not there when looked for"


def pacs_receipt(*, given: int, shown: int, noted: bool, refused: str = "") -> tuple[Outcome, str]:
    """What became of the copies that an archive was given.

    Args:
        given: how many it was given.
        shown: how many of them a query still finds.
        noted: whether it took a rejection note for them.
        refused: why it refused the note.
    """
    if not shown:
        return Outcome.GONE, f"none of {given} instance(s) is shown any more"
    if noted:
        said = "it took the rejection note and still shows them"
    else:
        said = refused or "it is not configured to take rejection notes (RESEARCHPACS.REJECTIONNOTES)"
    return Outcome.PERSON, f"{shown} of {given} instance(s) are still there: {said}; delete them there"


def is_settled(receipts: Iterable[CopyReceipt]) -> bool:
    """Whether nothing has to be tried again by itself."""
    return all(one.outcome is not Outcome.LATER for one in receipts)
