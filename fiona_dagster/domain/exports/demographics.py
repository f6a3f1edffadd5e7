"""Sex, birth date and age as a project's own REDCap has them (FIONA: fields `sex`, `dob`, `age` where `first_name` is
the participant; fiona-behaviour 5.2).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fiona_dagster.domain.errors import Permanent

FIELDS = ("first_name", "sex", "dob", "age")
_SEXES = {"0": "F", "1": "M", "F": "F", "M": "M", "O": "O"}
_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")
_OLDEST = 130


@dataclass(frozen=True)
class Demographics:
    """As DICOM has them: PatientSex (CS), PatientBirthDate (DA), PatientAge (AS); blank where REDCap says nothing."""

    sex: str = ""
    birth_date: str = ""
    age: str = ""


def demographics_of(rows: Iterable[Mapping[str, Any]], participant: str, record_field: str) -> Demographics:
    """The demographics of one participant from rows of its project.

    Args:
        rows: flat rows; longitudinal projects have one an event.
        participant: found in `first_name`, else in the record's id.
        record_field: name of the field that holds the record's id.

    Raises:
        Permanent: rows contradict each other, or a value cannot be understood. No message holds a value.
    """
    mine = [row for row in rows if str(row.get("first_name") or row.get(record_field) or "") == participant]
    # in a longitudinal project the name stands in the first event only
    records = {row.get(record_field) for row in mine}
    mine = [row for row in rows if row.get(record_field) in records] if records else []
    return Demographics(
        _sex(_single(mine, "sex")), _birth_date(_single(mine, "dob")), age_string(_single(mine, "age"))
    )


def age_string(text: str) -> str:
    """An AS value (PS3.5 6.2) of an age in years: whole years as `nnnY`, fractions as months, as FIONA did.

    Raises:
        Permanent: it is no age.
    """
    if not text:
        return ""
    try:
        years = float(text.replace(",", "."))
    except ValueError:
        years = -1.0
    if not 0 <= years <= _OLDEST:
        raise Permanent("the age in the project's REDCap is no number of years: mend it there")
    if years == int(years):
        return f"{int(years):03d}Y"
    months = round(years * 12)
    return f"{months:03d}M" if months < 1000 else f"{int(years):03d}Y"


def age_at(birth_date: str, study_date: str) -> str:
    """PatientAge at the time of a study, from two DA values; blank unless both are dates in this order."""
    born, seen = _date(birth_date), _date(study_date)
    if born is None or seen is None or seen < born:
        return ""
    months = (seen.year - born.year) * 12 + seen.month - born.month - (seen.day < born.day)
    if months >= 24:
        return f"{months // 12:03d}Y" if months // 12 <= _OLDEST else ""
    return f"{months:03d}M"


def _single(rows: Iterable[Mapping[str, Any]], field: str) -> str:
    found = {str(row[field]).strip() for row in rows if row.get(field) not in (None, "")}
    if len(found) > 1:
        raise Permanent(f"the project's REDCap has two values of {field} for one participant: mend it there")
    return found.pop() if found else ""


def _sex(text: str) -> str:
    if text and text.upper() not in _SEXES:
        raise Permanent("the sex in the project's REDCap is neither 0, 1, F, M nor O: mend it there")
    return _SEXES.get(text.upper(), "")


def _birth_date(text: str) -> str:
    date = _date(text)
    if text and date is None:
        raise Permanent("the date of birth in the project's REDCap is no date: mend it there")
    return date.strftime("%Y%m%d") if date else ""


def _date(text: str) -> dt.date | None:
    match = _DATE.fullmatch(text.strip())
    try:
        return dt.date(int(match[1]), int(match[2]), int(match[3])) if match else None
    except ValueError:
        return None
