"""What became of the C-STORE sub-operations of a C-MOVE or C-GET (PS3.4 C.4.2 and C.4.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fiona_dagster.adapters.dicom_scu import messages
from fiona_dagster.adapters.dicom_scu.messages import Response
from fiona_dagster.domain.errors import Permanent, Transient
from fiona_dagster.settings import DicomPeer

MAXIMUM_FAILED_UIDS = 10_000
"""Of those that failed as many are kept by name; the number counts them all."""

_PERMANENT = {
    0xA801: "it does not know our AE title {destination} as a destination: ask its administrator to add it",
    0xA900: "it does not support this way to name what is wanted",
    0x0122: "it does not support this retrieval: ask its administrator",
    0x0124: "it does not allow us to retrieve: ask its administrator",
    0x0210: "it says the operation is unknown to it",
    0x0211: "it says the operation is unknown to it",
    0x0212: "it did not understand the request",
}
_PARTLY = 0xB000
"""Sub-operations complete, one or more failures or warnings."""


@dataclass(frozen=True)
class RetrieveReport:
    """The last word of the peer. `status`: its DIMSE Status; the counts are None where it gave none.

    `failed_sop_instance_uids`: those it names. `problems`: Status by SOP Instance UID of what was not stored here, or
    with a Warning, in a C-GET; `obstacle`: why our receiver could not be asked. `cancelled`: at our request.
    """

    peer: DicomPeer
    status: int
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    failed_sop_instance_uids: tuple[str, ...] = field(default=(), repr=False)
    problems: Mapping[str, int] = field(default_factory=dict, repr=False)
    cancelled: bool = False
    destination: str = ""
    obstacle: str = ""

    @property
    def shortcoming(self) -> str:
        """What went wrong with a part, in words without patient data; empty where nothing did."""
        if self.obstacle:
            return f"our receiver did not take over what came: {self.obstacle}"
        if self.problems:
            statuses = ", ".join(sorted({f"0x{status:04X}" for status in self.problems.values()}))
            return f"our receiver answered {len(self.problems)} instances with {statuses}"
        return f"{self.peer} could not send {self.failed} instances: see its log" if self.failed else ""

    def raise_for_status(self) -> None:
        """Turn a failure of the whole operation into the error that says whether to try again.

        A part that failed raises nothing: what is missing shows when the holdings are compared.

        Raises:
            Transient: busy, cancelled or unable now.
            Permanent: it does not know our destination, or does not allow or support it.
        """
        if self.status in (messages.SUCCESS, _PARTLY):
            return
        what = f"{self.peer} ended the retrieval with 0x{self.status:04X}"
        if self.status in _PERMANENT:
            raise Permanent(f"{what}: {_PERMANENT[self.status].format(destination=self.destination)}")
        if self.status == messages.CANCELLED:
            raise Transient(f"{what}: {'cancelled' if self.cancelled else 'it cancelled by itself'}")
        if self.status >> 8 == 0xA7:
            raise Transient(f"{what}: it is out of resources, try again later")
        raise Transient(f"{what}: see its log")


def report_of(
    peer: DicomPeer,
    answer: Response,
    *,
    implicit_vr: bool,
    cancelled: bool = False,
    destination: str = "",
    problems: Mapping[str, int] | None = None,
    obstacle: str = "",
) -> RetrieveReport:
    """The report behind a last response, with its Failed SOP Instance UID List (0008,0058) where it has one."""
    return RetrieveReport(
        peer,
        answer.status,
        answer.completed,
        answer.failed,
        answer.warning,
        _failed_uids(answer.data_set, implicit_vr=implicit_vr) if answer.data_set else (),
        dict(problems or {}),
        cancelled,
        destination,
        obstacle,
    )


def _failed_uids(data_set: bytes, *, implicit_vr: bool) -> tuple[str, ...]:
    from io import BytesIO

    from pynetdicom.dsutils import decode

    try:
        value = decode(BytesIO(data_set), implicit_vr, True).get("FailedSOPInstanceUIDList") or ()  # noqa: FBT003
    except Exception:  # noqa: BLE001 — pydicom raises many kinds; the list only explains what the counts say
        return ()
    uids = (value,) if isinstance(value, str) else tuple(value)
    return tuple(str(uid) for uid in uids[:MAXIMUM_FAILED_UIDS])
