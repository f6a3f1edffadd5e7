"""C-STORE as SCU: one Association for a study, each file streamed as it is, one answer accounted for each.

The data set goes from the file straight into the PDUs (`preadv` between heads that are already in place): nothing is
decoded or copied, and memory does not grow with the object. Only what a peer refuses in its own Transfer Syntax is
transcoded, to one that it accepted beside. Several Associations share one queue, where a peer takes several.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from fiona_dagster.adapters.dicom_scu import messages
from fiona_dagster.adapters.dicom_scu.association import (
    MAXIMUM_CONTEXTS,
    P_DATA_HEAD_LENGTH,
    Association,
    Timeouts,
    write_p_data_head,
)
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

_CHUNK = 1024 * 1024
_COMMAND_ROOM = 512
"""More than the longest command set of a C-STORE (two UIDs of 64) with its head."""

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
        for index, outcome in send_over(association, self._next(waiting), transcode=self._transcode):
            self.settle(index, outcome)

    def _next(self, waiting: deque[Numbered]) -> Iterator[Numbered]:
        while self._stop is None or not self._stop():
            try:
                yield waiting.popleft()
            except IndexError:
                return

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


def send_over(
    association: Association, batch: Iterable[Numbered], *, transcode: bool = False
) -> Iterator[tuple[int, SendOutcome]]:
    """Store instances over an open Association; the outcome of each, under the number it came with.

    Raises:
        Transient: the Association was lost.
    """
    outgoing = _Outgoing(association)
    message_id = 0
    for index, instance in batch:
        message_id = message_id % 0xFFFF + 1
        context_id = association.accepted.get((instance.sop_class_uid, instance.transfer_syntax_uid))
        if context_id is not None:
            yield index, _store(association, outgoing, instance, context_id, message_id)
            continue
        other = next(
            (one for one in UNCOMPRESSED if (instance.sop_class_uid, one) in association.accepted), ""
        )
        if not transcode or not other:
            yield index, failure(instance, f"the peer refuses {_context_name(instance)}")
            continue
        with tempfile.TemporaryDirectory(prefix="fiona-send-") as folder:
            try:
                copy = transcoded(instance, other, Path(folder) / "copy.dcm")
            except Permanent as error:
                yield index, failure(instance, f"the peer refuses {_context_name(instance)}, and {error}")
                continue
            context_id = association.accepted[instance.sop_class_uid, other]
            yield index, _store(association, outgoing, copy, context_id, message_id, original=instance)


def _store(
    association: Association, outgoing: _Outgoing, instance: StoredInstance, context_id: int, message_id: int,
    original: StoredInstance | None = None,
) -> SendOutcome:  # fmt: skip
    """One C-STORE, of `original` or of a transcoded copy of it."""
    about = original or instance
    try:
        descriptor = os.open(instance.path, os.O_RDONLY)
    except OSError as error:
        return failure(about, f"the file cannot be read ({error.strerror})")
    try:
        outgoing.send(instance, descriptor, context_id, message_id)
    except _NothingSentError as error:
        return failure(about, str(error), retry=True)
    finally:
        os.close(descriptor)
    status = association.receive(messages.C_STORE_RQ, message_id).status
    return outcome_of(about, status, "" if original is None else instance.transfer_syntax_uid)


class _NothingSentError(Exception):
    """The file could not be read before anything of it was sent: the Association is still good."""


class _Outgoing:
    """A buffer of P-DATA-TF PDUs whose fragments are read from the file between the heads."""

    def __init__(self, association: Association) -> None:
        self._association = association
        self._fragment = association.maximum_pdu - 6
        self._slots = max(1, _CHUNK // (self._fragment + P_DATA_HEAD_LENGTH))
        self._buffer = bytearray(_COMMAND_ROOM + self._slots * (self._fragment + P_DATA_HEAD_LENGTH))
        self._view = memoryview(self._buffer)

    def send(self, instance: StoredInstance, descriptor: int, context_id: int, message_id: int) -> None:
        command = messages.encode_request(
            messages.C_STORE_RQ,
            message_id,
            instance.sop_class_uid,
            sop_instance_uid=instance.sop_instance_uid,
            with_data_set=True,
        )
        begin = _COMMAND_ROOM - len(command) - P_DATA_HEAD_LENGTH
        write_p_data_head(self._buffer, begin, len(command), context_id, command=True, last=True)
        self._view[_COMMAND_ROOM - len(command) : _COMMAND_ROOM] = command
        offset, remaining = instance.offset, instance.length
        while remaining:
            at = _COMMAND_ROOM
            fragments: list[memoryview] = []
            while remaining and len(fragments) < self._slots:
                length = min(self._fragment, remaining)
                remaining -= length
                write_p_data_head(self._buffer, at, length, context_id, command=False, last=not remaining)
                at += P_DATA_HEAD_LENGTH
                fragments.append(self._view[at : at + length])
                at += length
            try:
                read = os.preadv(descriptor, fragments, offset)
            except OSError as error:
                read, problem = -1, f"the file cannot be read ({error.strerror})"
            else:
                problem = "the file changed while it was being sent"
            if read != sum(map(len, fragments)):
                if offset == instance.offset:
                    raise _NothingSentError(problem)
                raise Transient(problem)  # within a message: only an abort tells the peer so
            offset += read
            self._association.send(self._view[begin:at])
            begin = _COMMAND_ROOM


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
