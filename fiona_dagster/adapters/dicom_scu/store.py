"""C-STORE as SCU: one Association for a study, each file streamed as it is, one answer accounted for each.

The data set goes from the file straight into the PDUs (`preadv` between heads that are already in place): nothing is
decoded, copied or transcoded, and memory does not grow with the object.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
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
from fiona_dagster.domain.errors import Permanent, Transient
from fiona_dagster.settings import DicomPeer

_CHUNK = 1024 * 1024
_COMMAND_ROOM = 512
"""More than the longest command set of a C-STORE (two UIDs of 64) with its head."""

_MAY_PASS = frozenset({0x0110, 0x0213, 0xFE00})
"""Processing failure, resource limitation, cancelled: the same instance may be stored later (PS3.7 annex C.5)."""


@dataclass(frozen=True)
class SendOutcome:
    """What became of one file. `status`: the peer's DIMSE Status, None where it gave none."""

    path: Path = field(repr=False)
    sop_instance_uid: str = field(repr=False)
    status: int | None
    problem: str = ""
    retry: bool = False

    @property
    def stored(self) -> bool:
        """Success, or a Warning: the peer has it (PS3.4 B.2.3)."""
        return self.status is not None and _is_stored(self.status)


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


def send(
    paths: Sequence[Path],
    peer: DicomPeer,
    calling: str,
    *,
    progress: Callable[[SendOutcome], None] | None = None,
    timeouts: Timeouts | None = None,
) -> SendReport:
    """Store the files at `peer`, in one Association (further ones beyond 128 Presentation Contexts).

    A refused context, a failure Status, an unreadable file or the end of the Association is reported for each
    instance, so that the caller can retry what is missing.

    Args:
        paths: DICOM files, usually one study's.
        peer: the SCP.
        calling: our AE title.
        progress: called after each file.
        timeouts: in seconds; `dimse` bounds the sending of each chunk and the wait for each answer.

    Raises:
        Transient, Permanent: no Association came about, so that nothing was sent.
    """
    outcomes: dict[int, SendOutcome] = {}

    def settle(index: int, outcome: SendOutcome) -> None:
        outcomes[index] = outcome
        if progress is not None:
            progress(outcome)

    readable: list[tuple[int, StoredInstance]] = []
    for index, path in enumerate(paths):
        try:
            readable.append((index, read_stored_instance(path)))
        except Permanent as error:
            settle(index, SendOutcome(path, "", None, str(error)))
    established = False
    for batch in _batches(readable):
        proposed = _contexts(batch)
        try:
            with Association(peer, calling, [(c, (t,)) for c, t in proposed], timeouts or Timeouts()) as one:
                established = True
                for index, outcome in send_over(one, batch):
                    settle(index, outcome)
        except (Transient, Permanent) as error:
            if not established:
                raise
            retry = isinstance(error, Transient)
            for index, instance in batch:
                if index not in outcomes:
                    settle(index, _failure(instance, f"not sent: {error}", retry=retry))
    return SendReport(tuple(outcomes[index] for index in range(len(paths))))


def send_over(
    association: Association, batch: Sequence[tuple[int, StoredInstance]]
) -> Iterator[tuple[int, SendOutcome]]:
    """Store instances over an open Association; the outcome of each, under the number it came with.

    Raises:
        Transient: the Association was lost.
    """
    outgoing = _Outgoing(association)
    message_id = 0
    for index, instance in batch:
        context_id = association.accepted.get((instance.sop_class_uid, instance.transfer_syntax_uid))
        if context_id is None:
            yield index, _failure(instance, f"the peer refuses {_context_name(instance)}")
            continue
        try:
            descriptor = os.open(instance.path, os.O_RDONLY)
        except OSError as error:
            yield index, _failure(instance, f"the file cannot be read ({error.strerror})")
            continue
        message_id = message_id % 0xFFFF + 1
        try:
            outgoing.send(instance, descriptor, context_id, message_id)
        except _NothingSentError as error:
            yield index, _failure(instance, str(error), retry=True)
            continue
        finally:
            os.close(descriptor)
        status = association.receive(messages.C_STORE_RQ, message_id).status
        yield (
            index,
            SendOutcome(
                instance.path,
                instance.sop_instance_uid,
                status,
                "" if _is_stored(status) else _status_name(status),
                retry=not _is_stored(status) and (status >> 8 == 0xA7 or status in _MAY_PASS),
            ),
        )


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


def _batches(
    instances: Sequence[tuple[int, StoredInstance]],
) -> Iterator[list[tuple[int, StoredInstance]]]:
    """Parts that need at most 128 Presentation Contexts each, in the order given where one is enough."""
    pairs = _contexts(instances)
    for first in range(0, len(pairs), MAXIMUM_CONTEXTS):
        chosen = frozenset(pairs[first : first + MAXIMUM_CONTEXTS])
        yield [one for one in instances if (one[1].sop_class_uid, one[1].transfer_syntax_uid) in chosen]


def _contexts(instances: Sequence[tuple[int, StoredInstance]]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((one.sop_class_uid, one.transfer_syntax_uid) for _, one in instances))


def _failure(instance: StoredInstance, problem: str, *, retry: bool = False) -> SendOutcome:
    return SendOutcome(instance.path, instance.sop_instance_uid, None, problem, retry)


def _is_stored(status: int) -> bool:
    return status == messages.SUCCESS or status >> 12 == 0xB or status in (0x0001, 0x0107, 0x0116)


def _context_name(instance: StoredInstance) -> str:
    from pydicom.uid import UID

    return f"{UID(instance.sop_class_uid).name} in {UID(instance.transfer_syntax_uid).name}"


def _status_name(status: int) -> str:
    """The Status in words of the standard; the peer's Error Comment is left out, for it may name a patient."""
    from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS

    _, text = STORAGE_SERVICE_CLASS_STATUS.get(status, ("", ""))
    return f"the peer answered 0x{status:04X} {text}".rstrip()
