"""UIDs are replaced: the same UID always becomes the same new UID within a project, nowhere else.

Keyed ones by default. A project that goes on with a data set made by FIONA may have FIONA's (fiona-behaviour 4.1):
they need no key, so that whoever knows an original can tell its copy.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Protocol

from fiona_dagster.domain.deid.dictionary import is_registered
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.identifiers import UID_MAXIMUM_LENGTH, is_valid_uid
from fiona_dagster.domain.project import Project

FIONA_ROOT = "1.3.6.1.4.1.45037"
_DIGITS_OF_128_BIT = 39
_FIONA_LENGTH = 63
_STUDY_INSTANCE_UID = 0x0020000D
_NIBBLES = str.maketrans("abcdef", "012345")
_MADE_BY_FIONA = {
    "fiona": re.compile(re.escape(FIONA_ROOT) + r"\.[0-9]{45}"),
    "fiona_hex": re.compile(re.escape(FIONA_ROOT) + r"\.[0-9a-f]{45}"),
}


class UidMap(Protocol):
    """The new UID of one that stands in an attribute (its tag); where only text is known, the tag is 0."""

    def __call__(self, uid: str, tag: int = 0) -> str: ...


def uid_map(
    project: Project, key: bytes, *, retained: bool = False, of_copies: frozenset[str] = frozenset()
) -> UidMap:
    """How UIDs are replaced by the project's scheme; where UIDs are `retained`, only what is none is replaced.

    Those `of_copies` were made by it already and stay.

    Raises ConfigurationError where the project's root is unusable.
    """
    keyed = UidMapper(key, project.uid_root)
    mapped: UidMap = keyed if project.uid_scheme == "keyed" else FionaUids(project)
    if retained:
        return ValidUids(mapped)
    return UidsOfCopies(mapped, of_copies) if of_copies else mapped


class UidsOfCopies:
    """In results: UIDs of the copies that they were made of stay, all others are replaced."""

    def __init__(self, mapper: UidMap, of_copies: frozenset[str]) -> None:
        self._mapper, self._of_copies = mapper, of_copies

    def __call__(self, uid: str, tag: int = 0) -> str:
        uid = uid.strip(" \0")
        return uid if uid in self._of_copies else self._mapper(uid, tag)


class FionaUids:
    """UIDs as FIONA makes them; blanks and the padding NUL do not count. Registered UIDs and '' stay."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def __call__(self, uid: str, tag: int = 0) -> str:
        uid = uid.strip(" \0")
        return uid if not uid or is_registered(uid) else fiona_uid(uid, tag, self._project)


def fiona_uid(uid: str, tag: int, project: Project) -> str:
    """What FIONA makes of a UID in `tag`.

    The text is hashed as it is padded in the file, a Study Instance UID without padding. Other UIDs than those that
    FIONA knew (instances, series, studies, frames of reference) are made alike; FIONA wrote 64 digits without a root.
    """
    text = uid if tag == _STUDY_INSTANCE_UID or len(uid) % 2 == 0 else uid + "\0"
    return f"{FIONA_ROOT}.{fiona_digest(text + project.name, project)}"[:_FIONA_LENGTH]


def fiona_digest(text: str, project: Project) -> str:
    """SHA-256 in 64 characters: digits, where the scheme is not that of before September 2023."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
    return digest if project.uid_scheme == "fiona_hex" else digest.translate(_NIBBLES)


def is_acceptable_uid(uid: str, project: Project) -> bool:
    """Whether a copy may have `uid`: a valid one (PS3.5 9.1), or one as the project's scheme makes them.

    One in eight of FIONA's begins its last component with 0, and those of before September 2023 have letters.
    """
    made = _MADE_BY_FIONA.get(project.uid_scheme)
    return is_valid_uid(uid) or (made is not None and made.fullmatch(uid) is not None)


class ValidUids:
    """Where UIDs are retained: a valid one stays; text that is no UID (PS3.5 9.1) is mapped, whatever it says."""

    def __init__(self, mapper: UidMap) -> None:
        self._mapper = mapper

    def __call__(self, uid: str, tag: int = 0) -> str:
        uid = uid.strip(" \0")
        return uid if is_valid_uid(uid) else self._mapper(uid, tag)


class UidMapper:
    """`root.<decimal of HMAC-SHA256(key, 'uid' US uid), cut to 128 bit>`; with root 2.25 as PS3.5 B.2 makes them."""

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

    def __call__(self, uid: str, tag: int = 0) -> str:
        """The new UID of `uid`, the same in every attribute; blanks and the padding NUL do not count.

        Registered UIDs and '' stay.
        """
        made = self._made.get(uid)
        if made is not None:
            return made
        uid = uid.strip(" \0")
        if not uid or is_registered(uid):
            return uid
        text = f"uid\x1f{uid}".encode("utf-8", "surrogateescape")  # no UID asks for another use of the key
        digest = hmac.digest(self._key, text, "sha256")
        made = self._made[uid] = f"{self._root}.{int.from_bytes(digest[:16], 'big')}"
        return made
