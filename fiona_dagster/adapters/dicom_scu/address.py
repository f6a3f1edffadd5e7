"""A peer written as people write it: `AE@host:port`."""

from __future__ import annotations

import re

from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.settings import DicomPeer

_PEER = re.compile(
    r"(?P<title>[\x20-\x3f\x41-\x5b\x5d-\x7e]{1,16})@\[?(?P<host>[^@\s\[\]]+?)\]?:(?P<port>\d{1,5})"
)


def peer_from_text(text: str) -> DicomPeer:
    """The peer behind `AE@host:port`; an IPv6 address stands in brackets.

    Raises:
        ConfigurationError: it is written in another way.
    """
    found = _PEER.fullmatch(text.strip())
    if found is None or not 0 < int(found["port"]) <= 65535:
        raise ConfigurationError(
            f"'{text}' is no DICOM peer", remedy="write AE@host:port, e.g. FIONA@localhost:11112"
        )
    return DicomPeer(found["title"], found["host"], int(found["port"]))
