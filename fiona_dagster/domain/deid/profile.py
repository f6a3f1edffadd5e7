"""A De-identification Profile is data, closed and total: its rules answer for every tag, and unknown means removed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fiona_dagster.domain.deid.codes import Code, DateMode, Option, effective_vr, is_removed_group
from fiona_dagster.domain.deid.rules import Rules
from fiona_dagster.domain.deid.table import EDITION

__all__ = [
    "Code",
    "DateMode",
    "Option",
    "Profile",
    "Rules",
    "default_profile",
    "effective_vr",
    "is_removed_group",
]


@dataclass(frozen=True)
class Profile:
    """The Basic Profile with options, and overrides by tag.

    `version` is what a project may pin: another one may treat attributes otherwise. `standard_body_parts`: Body Part
    Examined keeps standard codes only (FIONA).
    """

    name: str = "Basic Profile"
    options: frozenset[Option] = frozenset()
    overrides: tuple[tuple[int, Code], ...] = ()
    edition: str = EDITION
    version: str = EDITION
    standard_body_parts: bool = False

    @property
    def policy(self) -> dict[str, Any]:
        """All that the profile decides, in a form that is always written alike."""
        return {
            "profile": self.name,
            "edition": self.edition,
            "version": self.version,
            "options": sorted(self.options),
            "overrides": [[f"{tag:08x}", code] for tag, code in sorted(self.overrides)],
            "standard_body_parts": self.standard_body_parts,
        }

    def rules(self, sop_class_uid: str, dates: DateMode) -> Rules:
        """What happens to each attribute of an object of this type; made once and remembered."""
        return _rules(self, sop_class_uid, dates)

    def code(self, tag: int, declared_vr: str, dates: DateMode) -> Code:
        """The action for an attribute of an object of unknown type."""
        return _rules(self, "", dates).code(tag, declared_vr)


def default_profile() -> Profile:
    """The gateway's profile where a project has none of its own: Basic, without options but the dates'."""
    return Profile()


@lru_cache(maxsize=1024)
def _rules(profile: Profile, sop_class_uid: str, dates: DateMode) -> Rules:
    return Rules(profile.options, dict(profile.overrides), sop_class_uid, dates)
