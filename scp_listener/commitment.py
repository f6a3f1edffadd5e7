"""Storage Commitment Push Model as SCP (PS3.4 annex J): recorded, answered, and reported until the requester has it.

A report tells what holds when it is sent. It goes over the Association of the request while that is open, else over
one of ours to the address known for the requester's AE title; a requester without one is only reached while it waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pydicom import Dataset
from pynetdicom import evt

from fiona_dagster.adapters.dicom_scu.event_report import report_commitment
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.commitments import CommitmentRecord, RecordedContent
from fiona_dagster.domain.commitment import (
    LONGEST_SETTLING_SECONDS,
    SETTLING_SECONDS,
    STORAGE_COMMITMENT,
    WELL_KNOWN_INSTANCE,
    FailureReason,
    Holding,
    Reference,
    commitment_request,
    event_information,
    failure_of,
    next_attempt,
)
from fiona_dagster.domain.errors import FionaError, Reject, Transient
from scp_listener.event_report import ReportChannel
from scp_listener.log import LOG

if TYPE_CHECKING:
    from fiona_dagster.settings import Site
    from scp_listener.recorder import Recorder

SUCCESS, PROCESSING_FAILURE, RESOURCE_LIMITATION, NOT_AUTHORISED = 0x0000, 0x0110, 0x0213, 0x0124
MOST_AT_ONCE = 64
"""Reports under way in one process; a thread waits in each until its instances are recorded."""
NO_ADDRESS = "no address is known for this AE title (STORAGECOMMITMENT.REQUESTERS)"

_LEASE_SECONDS = 600.0
"""A report under way is nobody else's for so long; what a dead process began is released at the next start."""
_LOOK_SECONDS = 5.0
_ANSWER_SECONDS = 60.0
_STEP_SECONDS = 0.2
_PARTING_SECONDS = 5.0
_RELEASE_SECONDS = 1.0
"""A requester that we can call may be about to release: a report that meets its release would be lost on both."""

Outcome = Sequence[tuple[Reference, FailureReason | None]]


class CommitmentScp:
    """Answers N-ACTION of one site and reports what is due. `start` once, `stop` once."""

    def __init__(
        self,
        site: Site,
        ledger: Ledger,
        recorder: Recorder,
        *,
        worker: str,
        clock: Callable[[], float] = time.time,
        may: Callable[[Any], bool] = lambda _association: True,
    ) -> None:
        """`worker` names this process; `may` tells whether an Association may ask for commitment."""
        self._site, self._datadir = site.name, site.layout.datadir
        self._ledger, self._recorder = ledger, recorder
        self._worker, self._ae_title, self._terms = worker, site.ae_title, site.commitment
        self._requesters = {one.ae_title: one for one in (*site.sources, *site.requesters)}
        self._clock, self._may = clock, may
        self._stopping = threading.Event()
        self._threads: set[threading.Thread] = set()
        self._hands = threading.Lock()

    def handlers(self) -> list[tuple[Any, Any]]:
        """What to bind to the server's events."""
        return [(evt.EVT_N_ACTION, self._requested)]

    def start(self) -> None:
        """Report what is due, from now on."""
        self._begin(self._report_what_is_due)

    def stop(self, seconds: float) -> None:
        """Begin no more reports, give those under way a moment; what is left is reported after the next start."""
        self._stopping.set()
        deadline = time.monotonic() + min(seconds, _PARTING_SECONDS)
        with self._hands:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _requested(self, event: Any) -> tuple[int | Dataset, None]:
        try:
            if not self._may(event.assoc):
                raise Reject(NOT_AUTHORISED, "commitment is not for this caller")
            if len(self._threads) > MOST_AT_ONCE:
                raise Reject(RESOURCE_LIMITATION, "too many reports are under way; ask again later")
            asked = commitment_request(
                event.action_type, str(event.request.RequestedSOPInstanceUID or ""), _information(event)
            )
            now = self._clock()
            primitive = event.assoc.requestor.primitive
            record = self._ledger.commitments.request(
                self._site, primitive.calling_ae_title.strip(), primitive.called_ae_title.strip(), asked,
                worker=self._worker, now=now, until=now + _LEASE_SECONDS,
            )  # fmt: skip
        except Reject as error:
            return _refused(error.status, error.reason), None
        except Transient:
            return _refused(RESOURCE_LIMITATION, "the ledger does not answer; ask again later"), None
        except Exception as error:  # noqa: BLE001  a stranger's data set: pydicom raises many kinds
            LOG.error("a commitment request could not be read (%s)", type(error).__name__)
            return _refused(PROCESSING_FAILURE, "the request cannot be read"), None
        channel, context = ReportChannel.of(event.assoc), event.context
        self._begin(lambda: self._report(record, channel, context))
        return SUCCESS, None

    def _begin(self, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            finally:
                with self._hands:
                    self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, name="commitment", daemon=True)
        with self._hands:
            self._threads.add(thread)
        thread.start()

    def _report_what_is_due(self) -> None:
        """The life of the thread that reports what could not be reported at once."""
        while not self._stopping.is_set():
            record = None
            try:
                now = self._clock()
                record = self._ledger.commitments.claim(
                    self._site, self._worker, now=now, until=now + _LEASE_SECONDS
                )
            except FionaError as error:
                LOG.warning("due commitment reports cannot be looked up: %s", error)
            if record is None:
                self._stopping.wait(_LOOK_SECONDS)
            else:
                self._report(record, None, None)

    def _report(self, record: CommitmentRecord, channel: ReportChannel | None, context: Any) -> None:
        """Report one request that this process has claimed. Never raises."""
        try:
            outcome = self._settled_outcome(record)
            if outcome is None:
                return  # we stop: the claim is released at the next start
            event_type, information = event_information(record.transaction_uid, outcome)
            problem = self._sent(record, event_type, information, channel, context)
            now, commitments = self._clock(), self._ledger.commitments
            failed = sum(1 for _, failure in outcome if failure is not None)
            if problem is None:
                commitments.reported(record.id, committed=len(outcome) - failed, failed=failed, now=now)
                LOG.info("commitment reported: %d instances, %d of them not committed", len(outcome), failed)
                return
            attempts = record.attempts + 1
            again = next_attempt(attempts, requested_at=record.requested_at, now=now, terms=self._terms)
            commitments.undelivered(record.id, problem, attempts=attempts, again_at=again)
            LOG.warning("a commitment report was not delivered: %s", problem)
            if again is not None:
                commitments.postpone(self._site, record.calling_ae, again)
        except Exception as error:  # noqa: BLE001  the claim runs out, and another attempt is made
            LOG.error("a commitment was not reported (%s)", type(error).__name__)

    def _settled_outcome(self, record: CommitmentRecord) -> Outcome | None:
        """What is committed, once what was acknowledged before the request is recorded; None: we stop."""
        began, references = time.monotonic(), self._ledger.commitments.references(record.id)
        idle = False
        while True:
            idle = idle or self._recorder.is_idle()
            settled = idle and not self._ledger.commitments.unrecorded_senders(
                self._site, before=record.requested_at, but_of=self._worker
            )
            outcome = self._outcome(references)
            waited = time.monotonic() - began
            unknown = any(why is FailureReason.NO_SUCH_OBJECT_INSTANCE for _, why in outcome)
            if not unknown or (settled and waited >= SETTLING_SECONDS) or waited >= LONGEST_SETTLING_SECONDS:
                return outcome
            if self._stopping.wait(_STEP_SECONDS):
                return None

    def _outcome(self, references: Sequence[Reference]) -> Outcome:
        contents = self._ledger.commitments.contents(self._site, [one.sop_instance_uid for one in references])
        return [
            (
                one,
                failure_of(
                    one, [self._holding(content) for content in contents.get(one.sop_instance_uid, ())]
                ),
            )
            for one in references
        ]

    def _holding(self, content: RecordedContent) -> Holding:
        try:
            on_disk = (self._datadir / content.path).stat().st_size == content.size_bytes
        except OSError:
            on_disk = False
        return Holding(content.sop_class_uid, content.aside, content.purged, on_disk)

    def _sent(
        self,
        record: CommitmentRecord,
        event_type: int,
        information: Dataset,
        channel: ReportChannel | None,
        context: Any,
    ) -> str | None:
        """Send a report; why that failed, None where the requester has it."""
        peer = self._requesters.get(record.calling_ae)
        problem = NO_ADDRESS
        if channel is not None and (self._terms.same_association or peer is None):
            if peer is not None:
                self._let_it_release(channel)
            if channel.is_open:
                status = channel.send(
                    context, information, event_type, STORAGE_COMMITMENT, WELL_KNOWN_INSTANCE,
                    seconds=_ANSWER_SECONDS,
                )  # fmt: skip
                if status == SUCCESS:
                    return None
                problem = "not answered on its Association" if status is None else f"answered 0x{status:04X}"
        if peer is None:
            return problem
        try:
            report_commitment(peer, self._ae_title, event_type, information)
        except FionaError as error:
            return str(error)
        return None

    def _let_it_release(self, channel: ReportChannel) -> None:
        deadline = time.monotonic() + _RELEASE_SECONDS
        while channel.is_open and time.monotonic() < deadline:
            if self._stopping.wait(_STEP_SECONDS):
                return


def _information(event: Any) -> Dataset:
    if event.request.ActionInformation is None:
        return Dataset()
    information: Dataset = event.action_information
    return information


def _refused(status: int, reason: str) -> Dataset:
    LOG.warning("a commitment request was refused 0x%04X: %s", status, reason)
    answer = Dataset()
    answer.Status = status
    answer.ErrorComment = reason[:64]
    return answer
