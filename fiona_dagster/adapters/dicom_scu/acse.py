"""Negotiation of an Association, encoded and decoded by pynetdicom (PS3.8 section 9.3)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from fiona_dagster.domain.errors import Permanent, Transient
from fiona_dagster.settings import DicomPeer

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
OWN_USER = "fiona"
"""The user name beside a pass of `own_calls`."""
_TRANSIENT, _SERVICE_USER, _PRESENTATION = 2, 1, 3
_CALLING_NOT_RECOGNISED, _CALLED_NOT_RECOGNISED = 3, 7


def associate_request(
    called: str,
    calling: str,
    proposed: Sequence[tuple[str, Sequence[str]]],
    maximum_pdu: int,
    scp_of: Collection[str] = (),
    own_pass: str = "",
) -> bytes:
    """An encoded A-ASSOCIATE-RQ PDU.

    `proposed`: abstract syntax and transfer syntaxes of each context, at most 128. `scp_of`: SOP Classes of which we
    would be the SCP, in a C-GET (SCP/SCU Role Selection, PS3.7 D.3.3.4). `own_pass`: of `own_calls`, for our own
    receiver (User Identity Negotiation, PS3.7 D.3.3.7).
    """
    from pydicom.uid import UID
    from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION, build_context
    from pynetdicom.pdu import A_ASSOCIATE_RQ
    from pynetdicom.pdu_primitives import (
        A_ASSOCIATE,
        ImplementationClassUIDNotification,
        ImplementationVersionNameNotification,
        MaximumLengthNotification,
    )
    from pynetdicom.presentation import PresentationContext

    contexts: list[PresentationContext] = []
    for index, (abstract_syntax, transfer_syntaxes) in enumerate(proposed):
        context = build_context(abstract_syntax, list(transfer_syntaxes))
        context.context_id = 2 * index + 1
        contexts.append(context)
    longest, implementation, version = (
        MaximumLengthNotification(),
        ImplementationClassUIDNotification(),
        ImplementationVersionNameNotification(),
    )
    longest.maximum_length_received = maximum_pdu
    implementation.implementation_class_uid = PYNETDICOM_IMPLEMENTATION_UID
    version.implementation_version_name = PYNETDICOM_IMPLEMENTATION_VERSION
    request = A_ASSOCIATE()
    request.application_context_name = UID(APPLICATION_CONTEXT)
    request.calling_ae_title, request.called_ae_title = calling, called
    request.presentation_context_definition_list = contexts
    request.user_information = [longest, implementation, version, *map(_role, dict.fromkeys(scp_of))]
    if own_pass:
        request.user_information.append(_identity(own_pass))
    return bytes(A_ASSOCIATE_RQ(request).encode())


def _identity(own_pass: str) -> Any:
    from pynetdicom.pdu_primitives import UserIdentityNegotiation

    identity = UserIdentityNegotiation()
    identity.user_identity_type = 2  # user name and passcode
    identity.primary_field, identity.secondary_field = OWN_USER.encode(), own_pass.encode()
    identity.positive_response_requested = False
    return identity


def own_pass_of(identity: Any) -> str:
    """The pass in the user identity of a request (pynetdicom's primitive, or None); empty where there is none."""
    if identity is None or identity.user_identity_type != 2 or identity.primary_field != OWN_USER.encode():
        return ""
    return bytes(identity.secondary_field or b"").decode("ascii", "replace")


def _role(sop_class_uid: str) -> Any:
    from pydicom.uid import UID
    from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation

    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = UID(sop_class_uid), False, True
    return role


def acceptance(
    pdu: bytes, proposed: Sequence[tuple[str, Sequence[str]]]
) -> tuple[dict[tuple[str, str], int], int]:
    """Accepted context IDs by abstract and transfer syntax, and the longest PDU the peer takes (0: any).

    Raises:
        ValueError: it cannot be understood.
    """
    from pynetdicom.pdu import A_ASSOCIATE_AC

    try:
        decoded = A_ASSOCIATE_AC()
        decoded.decode(pdu)
        answer = decoded.to_primitive()
        contexts = {
            (proposed[(one.context_id - 1) // 2][0], str(one.transfer_syntax[0])): one.context_id
            for one in answer.presentation_context_definition_results_list
            if one.result == 0 and one.context_id is not None
        }
        return contexts, int(answer.maximum_length_received or 0)
    except Exception as error:
        raise ValueError(f"its acceptance cannot be understood ({type(error).__name__})") from error


def rejection(pdu: bytes, peer: DicomPeer, calling: str) -> Transient | Permanent:
    """What a rejection means. Source 3 (presentation) is busy or full, whatever its result says (PS3.8 9.3.4)."""
    result, source, reason = pdu[7:10].ljust(3, b"\0")
    if result == _TRANSIENT or source == _PRESENTATION:
        return Transient(f"{peer} is busy and rejected the Association for now: try again later")
    remedy = {
        _CALLING_NOT_RECOGNISED: f"ask its administrator to admit our AE title {calling}",
        _CALLED_NOT_RECOGNISED: f"check that its AE title is {peer.ae_title}",
    }.get(reason if source == _SERVICE_USER else 0, "ask its administrator why")
    return Permanent(f"{peer} rejected the Association: {remedy}")
