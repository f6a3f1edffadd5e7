"""What one transfer's copies were promised by one archive, kept in the ledger: reports may come hours later."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fiona_dagster.adapters.dicom_scu.commitment import Committed
from fiona_dagster.adapters.ledger.asked_commitments import AskedCommitments, Said

AWAITED_SECONDS = 86_400.0
"""A report that did not come within a day is asked for anew."""


@dataclass(frozen=True)
class CommitmentBook:
    """Notes requests before they are sent and knows what was reported, here or to the receiver.

    `copies` tells these very copies, for this request of the transfer, from any others under the same UIDs.
    """

    asked: AskedCommitments
    transfer_id: int
    destination: str
    copies: str
    clock: Callable[[], float]

    def ask(self, transaction_uid: str, uids: Sequence[str]) -> None:
        """A request is about to be sent."""
        self.asked.ask(
            transaction_uid, self.transfer_id, self.destination, self.copies, uids, now=self.clock()
        )

    def refused(self, transaction_uid: str) -> None:
        """The archive refused it: no report will come."""
        self.asked.forget(transaction_uid)

    def report(self, transaction_uid: str, said: Committed) -> None:
        """A report came over our own Association."""
        self.asked.report(transaction_uid, said.uids, said.failed, now=self.clock())

    def outcome(self, transaction_uid: str) -> Committed | None:
        """The report of a request, once it is there."""
        found = self.asked.outcome(transaction_uid)
        return None if found is None else Committed(*found)

    def said(self) -> Said:
        """All that the archive has said of these copies."""
        return self.asked.said(self.transfer_id, self.destination, self.copies)


def digest_of(generation: int, released: Mapping[str, str]) -> str:
    """Tells copies (SHA-256 by SOP Instance UID) of one request of a transfer from those of another."""
    lines = "".join(f"{uid} {sha256}\n" for uid, sha256 in sorted(released.items()))
    return hashlib.sha256(f"{generation}\n{lines}".encode()).hexdigest()
