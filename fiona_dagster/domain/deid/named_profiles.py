"""The profiles that come with the gateway, by the names of REDCap's `deid_profile`."""

from __future__ import annotations

from functools import cache

from fiona_dagster.domain.deid.codes import Code, Option
from fiona_dagster.domain.deid.dictionary import tag_of
from fiona_dagster.domain.deid.profile import Profile, default_profile
from fiona_dagster.domain.deid.table import EDITION, rows

NAMES = ("ps315", "fiona")
FIONA_LIST = "2025-09-05"
"""The date of FIONA's list of attributes that its profile follows."""


def named_profile(name: str) -> Profile | None:
    """The profile of that name, None where there is none."""
    if name == "fiona":
        return fiona_profile()
    return default_profile() if name == "ps315" else None


@cache
def fiona_profile() -> Profile:
    """What FIONA's list does to attributes, with removal that removes, and the Basic Profile for all others.

    FIONA declares the options Clean Descriptors, Retain Patient Characteristics, Device Identity and Safe Private:
    they are chosen here, and `fiona.csv` has what FIONA does otherwise than they say.
    """
    return Profile(
        name="FIONA",
        options=frozenset(
            {
                Option.CLEAN_DESCRIPTORS,
                Option.RETAIN_DEVICE_IDENTITY,
                Option.RETAIN_PATIENT_CHARACTERISTICS,
                Option.RETAIN_SAFE_PRIVATE,
            }
        ),
        overrides=tuple(
            sorted((tag_of(row["keyword"]) or 0, Code(row["action"])) for row in rows("fiona.csv"))
        ),
        version=f"{FIONA_LIST} PS3.15 {EDITION}",
        standard_body_parts=True,
    )


@cache
def body_parts() -> frozenset[str]:
    """The codes of PS3.16 annex L for Body Part Examined."""
    return frozenset(row["code"] for row in rows("body_parts.csv"))
