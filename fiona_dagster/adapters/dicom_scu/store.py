"""C-STORE as SCU: one Association for a study, each file streamed as it is, one answer accounted for each.

The data set goes from the file straight into the PDUs (`preadv` between heads that are already in place): nothing is
decoded or copied, and memory does not grow with the object. While the peer is at work on one, the next is read. Only
what a peer refuses in its own Transfer Syntax is transcoded, to one that it accepted beside. Several Associations
share one queue, where a peer takes several.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from fiona_dagster.adapters.dicom_scu import messages
from fiona_dagster.adapters.dicom_scu.association import MAXIMUM_CONTEXTS, Association, Timeouts
from fiona_dagster.adapters.dicom_scu.outgoing import NotReadError, Outgoing, Request
from fiona_dagster.adapters.dicom_scu.part10 import StoredInstance, read_stored_instance
from fiona_dagster.adapters.dicom_scu.sending import (
    SendOutcome,
    SendReport,
    failure,
    outcome_of,
)
from fiona_dagster.adapters.dicom_scu.transcoding import UNCOMPRESSED, transcoded
from fiona_dagster.domain.errors import FionaError, Permanent, Transient
from fiona_dagster.settings import DicomPeer

__all__ = ["SendOutcome", "SendReport", "send", "send_over"]

Numbered = tuple[int, StoredInstance]
Proposed = Sequence[tuple[str, Sequence[str]]]


def send(
    paths: Sequence[Path],
    peer: DicomPeer,
    calling: str,
    *,
    progress: Callable[[SendOutcome], None] | None = None,
    timeouts: Timeouts | None = None,
    associations: int = 1,
    transcode: bool = False,
    stop: Callable[[], bool] | None = None,
    own_pass: Callable[[], str] | None = None,
) -> SendReport:
    """Store the files at `peer`, in one Association (further ones beyond 128 Presentation Contexts).

    A refused context, a failure Status, an unreadable file or the end of the Association is reported for each
    instance, so that the caller can retry what is missing.

    Args:
        paths: DICOM files, usually one study's.
        peer: the SCP.
        calling: our AE title.
        progress: called after each file, by one thread at a time.
        timeouts: in seconds; `dimse` bounds the sending of each chunk and the wait for each answer.
        associations: so many at the same time; a peer that takes fewer gets fewer.
        transcode: what it refuses in its own Transfer Syntax is sent uncompressed, if it takes that.
        stop: asked before each file; once true, nothing more is sent, and what was not is to be tried again.
        own_pass: makes a pass of `own_calls` for each Association, where `peer` is our own receiver.

    Raises:
        Transient, Permanent, ConfigurationError: no Association came about, so that nothing was sent.
    """
    sending = _Sending(peer, calling, timeouts or Timeouts(), progress, transcode, stop, own_pass)
    readable: list[Numbered] = []
    for index, path in enumerate(paths):
        try:
            readable.append((index, read_stored_instance(path)))
        except Permanent as error:
            sending.settle(index, SendOutcome(path, "", None, str(error)))
    for batch in _batches(readable, transcode=transcode):
        sending.send(batch, associations)
    return SendReport(tuple(sending.outcomes[index] for index in range(len(paths))))


class _Sending:
    """What `send` has done so far."""

    def __init__(
        self, peer: DicomPeer, calling: str, timeouts: Timeouts, progress: Callable[[SendOutcome], None] | None,
        transcode: bool, stop: Callable[[], bool] | None, own_pass: Callable[[], str] | None,
    ) -> None:  # fmt: skip
        self.outcomes: dict[int, SendOutcome] = {}
        self._peer, self._calling, self._timeouts = peer, calling, timeouts
        self._progress, self._transcode, self._stop = progress, transcode, stop
        self._own_pass = own_pass
        self._established = False
        self._lock = threading.Lock()

    def settle(self, index: int, outcome: SendOutcome) -> None:
        with self._lock:
            self.outcomes[index] = outcome
            if self._progress is not None:
                self._progress(outcome)

    def send(self, batch: Sequence[Numbered], associations: int) -> None:
        """One Association; once it is there, further ones that take from the same queue."""
        proposed = _proposed([one for _, one in batch], transcode=self._transcode)
        waiting = deque(batch)
        problems: list[BaseException] = []
        further = [
            threading.Thread(target=self._further, args=(waiting, proposed, problems), daemon=True)
            for _ in range(min(associations, len(batch)) - 1)
        ]
        try:
            with self._associate(proposed) as association:
                for thread in further:
                    thread.start()
                self._over(association, waiting)
        except FionaError as error:
            if not self._established:
                raise
            problems.insert(0, error)
        finally:
            for thread in further:
                if thread.ident is not None:
                    thread.join()
        self._account(batch, problems)

    def _further(self, waiting: deque[Numbered], proposed: Proposed, problems: list[BaseException]) -> None:
        try:
            with self._associate(proposed) as association:
                self._over(association, waiting)
        except BaseException as error:  # noqa: BLE001 — it is raised, or accounted for, by the calling thread
            problems.append(error)

    def _associate(self, proposed: Proposed) -> Association:
        own_pass = self._own_pass() if self._own_pass is not None else ""
        association = Association(self._peer, self._calling, proposed, self._timeouts, own_pass=own_pass)
        self._established = True
        return association

    def _over(self, association: Association, waiting: deque[Numbered]) -> None:
        outcomes = send_over(association, _taken(waiting), transcode=self._transcode, stop=self._stop)
        for index, outcome in outcomes:
            self.settle(index, outcome)

    def _account(self, batch: Sequence[Numbered], problems: list[BaseException]) -> None:
        """An outcome for every instance; what no Association got to is to be tried again."""
        for problem in problems:
            if not isinstance(problem, FionaError):
                raise problem
        retry = not problems or any(isinstance(one, Transient) for one in problems)
        why = str(problems[0]) if problems else "it was stopped"
        for index, instance in batch:
            if index not in self.outcomes:
                self.settle(index, failure(instance, f"not sent: {why}", retry=retry))


def _taken(waiting: deque[Numbered]) -> Iterator[Numbered]:
    """What other threads have not taken from the queue."""
    with suppress(IndexError):
        while True:
            yield waiting.popleft()


def send_over(
    association: Association,
    batch: Iterable[Numbered],
    *,
    transcode: bool = False,
    stop: Callable[[], bool] | None = None,
) -> Iterator[tuple[int, SendOutcome]]:
    """Store instances over an open Association; the outcome of each, under the number it came with.

    While the peer is at work on one, the next is read; `stop` is asked before it is sent.

    Raises:
        Transient: the Association was lost.
    """
    outgoing = Outgoing(association)
    before: tuple[int, StoredInstance, Request] | None = None
    for index, instance in batch:
        following = _prepared(outgoing, association, instance, transcode=transcode)
        try:
            if before is not None:
                yield before[0], _answered(association, before[1], before[2])
                before = None
            if isinstance(following, SendOutcome):
                yield index, following
                continue
            if stop is not None and stop():
                return
            outgoing.send(following)
            before = index, instance, following
        finally:
            if isinstance(following, Request):
                following.close()
    if before is not None:
        yield before[0], _answered(association, before[1], before[2])


def _prepared(
    outgoing: Outgoing, association: Association, instance: StoredInstance, *, transcode: bool
) -> Request | SendOutcome:
    """The request for an instance, or for its copy in a Transfer Syntax that the peer takes; else why not."""
    context_id = association.accepted.get((instance.sop_class_uid, instance.transfer_syntax_uid))
    if context_id is not None:
        return _opened(outgoing, instance, instance, context_id)
    accepted = ((instance.sop_class_uid, syntax) for syntax in UNCOMPRESSED)
    other = next((one for one in accepted if one in association.accepted), None)
    if not transcode or other is None:
        return failure(instance, f"the peer refuses {_context_name(instance)}")
    with tempfile.TemporaryDirectory(prefix="fiona-send-") as folder:
        try:
            copy = transcoded(instance, other[1], Path(folder) / "copy.dcm")
        except Permanent as error:
            return failure(instance, f"the peer refuses {_context_name(instance)}, and {error}")
        return _opened(outgoing, instance, copy, association.accepted[other])


def _opened(
    outgoing: Outgoing, about: StoredInstance, instance: StoredInstance, context_id: int
) -> Request | SendOutcome:
    try:
        descriptor = os.open(instance.path, os.O_RDONLY)
    except OSError as error:
        return failure(about, f"the file cannot be read ({error.strerror})")
    try:
        return outgoing.prepare(instance, context_id, descriptor)
    except NotReadError as error:
        return failure(about, str(error), retry=True)


def _answered(association: Association, about: StoredInstance, request: Request) -> SendOutcome:
    status = association.receive(messages.C_STORE_RQ, request.message_id).status
    copied = request.instance is not about
    return outcome_of(about, status, request.instance.transfer_syntax_uid if copied else "")


def _batches(instances: Sequence[Numbered], *, transcode: bool) -> Iterator[list[Numbered]]:
    """Parts that need at most 128 Presentation Contexts each, in the order given where one is enough."""
    left = list(instances)
    while left:
        kinds = dict.fromkeys((one.sop_class_uid, one.transfer_syntax_uid) for _, one in left)
        chosen: set[tuple[str, str]] = set()
        classes: set[str] = set()
        for kind in kinds:
            more = len(chosen) + 1 + (len(classes | {kind[0]}) if transcode else 0)
            if more > MAXIMUM_CONTEXTS:
                break
            chosen.add(kind)
            classes.add(kind[0])
        yield [one for one in left if (one[1].sop_class_uid, one[1].transfer_syntax_uid) in chosen]
        left = [one for one in left if (one[1].sop_class_uid, one[1].transfer_syntax_uid) not in chosen]


def _proposed(instances: Iterable[StoredInstance], *, transcode: bool) -> Proposed:
    """A context for each kind as it is; beside them, one a SOP Class for what would have to be transcoded."""
    kinds = dict.fromkeys((one.sop_class_uid, one.transfer_syntax_uid) for one in instances)
    proposed: list[tuple[str, tuple[str, ...]]] = [(sop_class, (syntax,)) for sop_class, syntax in kinds]
    for sop_class in dict.fromkeys(one for one, _ in kinds) if transcode else ():
        other = tuple(one for one in UNCOMPRESSED if (sop_class, one) not in kinds)
        if other:
            proposed.append((sop_class, other))
    return proposed


def _context_name(instance: StoredInstance) -> str:
    from pydicom.uid import UID

    return f"{UID(instance.sop_class_uid).name} in {UID(instance.transfer_syntax_uid).name}"
