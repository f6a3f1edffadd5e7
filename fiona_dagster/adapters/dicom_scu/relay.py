"""Instances of a C-GET go on to a receiver, by default our own: one door into the archive, with one account."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from fiona_dagster.adapters.dicom_scu.association import MAXIMUM_CONTEXTS, Association, Timeouts
from fiona_dagster.adapters.dicom_scu.part10 import read_stored_instance
from fiona_dagster.adapters.dicom_scu.store import send_over
from fiona_dagster.domain.errors import FionaError
from fiona_dagster.settings import DicomPeer

SOP_CLASS_NOT_SUPPORTED = 0x0122
PROCESSING_FAILURE = 0x0110


class Relay:
    """A context manager; the Association is opened for the first instance, and anew for a kind it lacks.

    Args:
        peer: the receiver.
        calling: the AE title under which instances come, e.g. of the source that they were got from.
        timeouts: in seconds.
    """

    def __init__(self, peer: DicomPeer, calling: str, timeouts: Timeouts | None = None) -> None:
        self._peer, self._calling, self._timeouts = peer, calling, timeouts or Timeouts()
        self._association: Association | None = None
        self._kinds: dict[tuple[str, str], None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._association is not None:
            self._association.release()

    def store(self, file: Path) -> int:
        """Store a Part 10 file at the receiver; its Status.

        Raises:
            Transient, Permanent: no Association came about, it was lost, or the file is no DICOM.
        """
        instance = read_stored_instance(file)
        kind = (instance.sop_class_uid, instance.transfer_syntax_uid)
        association = self._with(kind)
        if kind not in association.accepted:
            return SOP_CLASS_NOT_SUPPORTED
        try:
            _, outcome = next(iter(send_over(association, [(0, instance)])))
        except FionaError:
            association.abort()
            self._association = None
            raise
        return PROCESSING_FAILURE if outcome.status is None else outcome.status

    def _with(self, kind: tuple[str, str]) -> Association:
        """The Association on which `kind` was proposed."""
        if self._association is not None and kind in self._kinds:
            return self._association
        if self._association is not None:
            self._association.release()
            self._association = None
        self._kinds[kind] = None
        while len(self._kinds) > MAXIMUM_CONTEXTS:
            self._kinds.pop(next(iter(self._kinds)))
        proposed = [(sop_class, (syntax,)) for sop_class, syntax in self._kinds]
        self._association = Association(self._peer, self._calling, proposed, self._timeouts)
        return self._association
