"""One-line test data."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

from fiona_dagster.domain.identifiers import SeriesInstanceUID, SOPInstanceUID, StudyInstanceUID
from fiona_dagster.domain.reception import Peer, ReceivedInstance

PEER = Peer("SCANNER1", "FIONA", "127.0.0.1")
_numbers = itertools.count(1)


def received(
    study: str = "1.2.3", sop: str | None = None, *, content: str | None = None, **values: Any
) -> ReceivedInstance:
    """A received instance; another SOP Instance at every call unless `sop` is given."""
    uid = sop or f"{study}.1.{next(_numbers)}"
    defaults: dict[str, Any] = {
        "site": "ABCD",
        "series_instance_uid": SeriesInstanceUID(f"{study}.1"),
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.4",
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "modality": "MR",
        "size_bytes": 1000,
        "path": f"site/archive/scp_{study}/{uid}",
        "received_at": 1_800_000_000.0,
        "peer": PEER,
    }
    return ReceivedInstance(
        study_instance_uid=StudyInstanceUID(study),
        sop_instance_uid=SOPInstanceUID(uid),
        sha256=hashlib.sha256((content or uid).encode()).hexdigest(),
        **{**defaults, **values},
    )
