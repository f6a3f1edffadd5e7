"""UIDs are replaced by keyed ones: the same UID always becomes the same new UID within a project, nowhere else."""

from __future__ import annotations

import hashlib
import hmac

from fiona_dagster.domain.deid.table import is_registered
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.identifiers import UID_MAXIMUM_LENGTH, is_valid_uid

_DIGITS_OF_128_BIT = 39


class ValidUids:
    """Where UIDs are retained: a valid one stays; text that is no UID (PS3.5 9.1) is mapped, whatever it says."""

    def __init__(self, mapper: UidMapper) -> None:
        self._mapper = mapper

    def __call__(self, uid: str) -> str:
        uid = uid.strip(" \0")
        return uid if is_valid_uid(uid) else self._mapper(uid)


class UidMapper:
    """`root.<decimal of HMAC-SHA256(key, uid), cut to 128 bit>`; with root 2.25 as PS3.5 B.2 makes them."""

    def __init__(self, key: bytes, root: str = "2.25") -> None:
        """Raises ConfigurationError where `root` leaves no room for 128 bit in 64 characters."""
        if not is_valid_uid(root) or len(root) + 1 + _DIGITS_OF_128_BIT > UID_MAXIMUM_LENGTH:
            raise ConfigurationError(
                f"'{root}' cannot be the root of new UIDs",
                place="deid_uid_root",
                remedy="use numbers joined by dots, without leading zeros, of 24 characters or fewer; or 2.25",
            )
        self._key, self._root = key, root
        self._made: dict[str, str] = {}

    def __call__(self, uid: str) -> str:
        """The new UID of `uid`; blanks and the padding NUL do not count. Registered UIDs and '' stay."""
        uid = uid.strip(" \0")
        if not uid or is_registered(uid):
            return uid
        made = self._made.get(uid)
        if made is None:
            digest = hmac.new(self._key, uid.encode("utf-8", "surrogateescape"), hashlib.sha256).digest()
            made = self._made[uid] = f"{self._root}.{int.from_bytes(digest[:16], 'big')}"
        return made
