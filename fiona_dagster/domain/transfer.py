"""A transfer: one study on its way into one project under one participant and event."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fiona_dagster.domain.identifiers import StudyKey
from fiona_dagster.domain.routing import TransferRequest


class TransferState(StrEnum):
    """Where a transfer stands. Work waits in `requested` and `forwarded`; a person is needed in `held` and `failed`."""

    REQUESTED = "requested"  # to be de-identified, verified and forwarded
    FORWARDED = "forwarded"  # confirmed by the research PACS; package and delivery are due
    DELIVERED = "delivered"  # everything that was asked for is done and confirmed
    HELD = "held"  # in the quarantine until a person decides
    FAILED = "failed"  # trying again would not help
    RETIRED = "retired"  # its copies should be nowhere any more, see domain.retirement


class Disposition(StrEnum):
    """What became of an instance in a transfer: the terms of the conservation law (design, law 2)."""

    RELEASED = "released"
    HELD = "held"
    EXCLUDED = "excluded"
    FAILED = "failed"


CLEANED_UP = (
    "images were cleaned up after delivery: it goes on when the source has sent the whole study again"
)
"""Reason of a transfer that is held only until its images are back."""
MADE_ANEW = "the copies were made anew by another method, and replace those that were sent"
AWAITING_VERIFICATION = "awaiting verification"
NOT_YET_DEIDENTIFIED = "not yet de-identified"
GIVEN_UP = "given up: "
"""How the reason begins of what a person gave up."""
RETIRED = "retired: "
"""How the reason begins of a transfer whose copies are taken back."""


@dataclass(frozen=True)
class Transfer:
    """A transfer as the ledger has it. `revision`: the newest that the research PACS confirmed.

    `key_id` and `method_digest`: of the project's key and of the method that made the newest copies; `profile` is the
    De-identification Profile's name. `rule`: the rule, or entry of the coupling list, that asked for it; '' for none.
    """

    id: int
    transfer_key: str
    study_key: StudyKey
    project: str
    participant: str
    event: str
    source: str
    state: TransferState
    reason: str
    revision: int
    packaged_revision: int
    generation: int
    attempts: int
    requested_at: float
    requested_by: str
    changed_at: float
    registry_state: str
    key_id: str = ""
    method_digest: str = ""
    rule: str = ""
    profile: str = ""

    def __repr__(self) -> str:
        return f"Transfer({self.id}, {self.project}, {self.state.value})"


@dataclass(frozen=True)
class ReleaseRow:
    """What became of one instance in one transfer. Paths are relative to the site's DATADIR.

    `sha256`, of the whole file, is there since its verification; `header_sha256`, without the value of Pixel Data,
    since it was written. `masking` is that of the copy's pixels as JSON, '' where nobody searched them.
    """

    instance_id: int
    disposition: Disposition
    reason: str = ""
    sop_instance_uid: str = ""
    series_instance_uid: str = ""
    study_instance_uid: str = ""
    sop_class_uid: str = ""
    transfer_syntax_uid: str = ""
    modality: str = ""
    path: str = ""
    sha256: str = ""
    size_bytes: int = 0
    header_sha256: str = ""
    masking: str = ""


@dataclass(frozen=True)
class Balance:
    """The conservation law for one study and transfer, counted per SOP Instance."""

    received: int
    released: int = 0
    held: int = 0
    excluded: int = 0
    failed: int = 0

    @property
    def holds(self) -> bool:
        return self.received == self.released + self.held + self.excluded + self.failed

    def __add__(self, other: Balance) -> Balance:
        return Balance(
            self.received + other.received,
            self.released + other.released,
            self.held + other.held,
            self.excluded + other.excluded,
            self.failed + other.failed,
        )


def given_up_reason(reason: str) -> str:
    """The reason of a transfer, or of a study without one, that a person gave up."""
    return f"{GIVEN_UP}{reason}"


def retired_reason(reason: str) -> str:
    """The reason of a transfer whose copies are taken back, and of its instances."""
    return f"{RETIRED}{reason}"


def state_for_request(
    existing: Transfer | None, request: TransferRequest, *, study_revision: int
) -> TransferState:
    """The state after a request came in (again): new, by hand, or for a newer revision = work; else unchanged.

    A retired transfer stays so, whatever lists and rules say, unless a person assigns the study there again.
    """
    if existing is not None and existing.state is TransferState.RETIRED and request.source != "assign":
        return TransferState.RETIRED
    if existing is None or request.source in ("assign", "resend") or existing.revision < study_revision:
        return TransferState.REQUESTED
    return existing.state
