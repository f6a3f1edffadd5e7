"""What a DICOMweb service refuses in its Transfer Syntax is sent again uncompressed, as to a DICOM peer.

A service says so for the request (HTTP 415) or for an instance (Failure Reason 0xC122, PS3.18 table I.2-2).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fiona_dagster.adapters.dicom_scu.part10 import StoredInstance
from fiona_dagster.adapters.dicom_scu.sending import SendOutcome, failure
from fiona_dagster.adapters.dicom_scu.transcoding import EXPLICIT, transcoded
from fiona_dagster.domain.errors import ConfigurationError, Permanent, Transient

SYNTAX_REFUSED = 0xC122

Store = Callable[[Sequence[StoredInstance]], dict[str, SendOutcome]]
"""Stores instances in one request; the outcome of each by its SOP Instance UID."""


def refused_syntax(instance: StoredInstance, http: int) -> SendOutcome:
    """The outcome of an instance whose Transfer Syntax the service refuses."""
    from pydicom.uid import UID

    said = f"HTTP {http}" if http == 415 else f"0x{SYNTAX_REFUSED:04X}"
    problem = f"the peer refuses {UID(instance.transfer_syntax_uid).name} ({said})"
    return SendOutcome(instance.path, instance.sop_instance_uid, SYNTAX_REFUSED, problem)


def store_or_transcode(store: Store, batch: Sequence[StoredInstance]) -> dict[str, SendOutcome]:
    """Store a batch; what is refused in its Transfer Syntax once more, one by one, in Explicit VR Little Endian.

    Raises:
        Transient, Permanent, ConfigurationError: of the first request; nothing is known of any instance.
    """
    outcomes = store(batch)
    for one in batch:
        outcome = outcomes[one.sop_instance_uid]
        if outcome.status == SYNTAX_REFUSED and one.transfer_syntax_uid != EXPLICIT:
            outcomes[one.sop_instance_uid] = _transcoded(store, one, outcome.problem)
    return outcomes


def _transcoded(store: Store, instance: StoredInstance, problem: str) -> SendOutcome:
    with tempfile.TemporaryDirectory(prefix="fiona-send-") as folder:
        try:
            copy = transcoded(instance, EXPLICIT, Path(folder) / "copy.dcm")
            outcome = store([copy])[instance.sop_instance_uid]
        except Permanent as error:
            return failure(instance, f"{problem}, and {error}")
        except (Transient, ConfigurationError) as error:
            return failure(instance, str(error), retry=True)
    return replace(outcome, path=instance.path, sent_as=EXPLICIT if outcome.stored else "")
