"""Archived instances to be sent again: which, where they lie, and under which AE titles they came."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select

from fiona_dagster.adapters.ledger.schema import instance, study
from fiona_dagster.domain.identifiers import StudyKey

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger


@dataclass(frozen=True)
class ArchivedPart:
    """What one sender sent of a study under one called AE title. `paths` are relative to the site's DATADIR.

    `purged` counts instances whose files were cleaned up; what is kept aside is in neither.
    """

    key: StudyKey
    site: str
    calling_ae: str
    called_ae: str
    paths: tuple[str, ...] = field(repr=False)
    purged: int


@dataclass(frozen=True)
class Selection:
    """Which studies; what is None or empty restricts nothing. Values may name patients: never to be logged.

    `studies`: study keys or Study Instance UIDs. `patients`: values of PatientID or PatientName (FIONA's s2m looked
    for these and Study Instance UIDs). `received_since`: seconds since the epoch, of the newest image (FIONA: `last N`
    by folder times). `calling_ae`: a pattern with `*` and `?` of the AE title that a part came from.
    """

    studies: tuple[str, ...] = field(default=(), repr=False)
    patients: tuple[str, ...] = field(default=(), repr=False)
    received_since: float | None = None
    calling_ae: str = ""
    site: str = ""


def archived_parts(ledger: Ledger, selection: Selection) -> list[ArchivedPart]:
    """The parts of the studies that match everything in `selection`, oldest study first.

    Raises:
        Transient: the ledger does not answer.
    """
    conditions: list[Any] = [instance.c.aside.is_(False)]
    if selection.studies:
        conditions.append(
            or_(study.c.key.in_(selection.studies), study.c.study_instance_uid.in_(selection.studies))
        )
    if selection.patients:
        conditions.append(
            or_(study.c.patient_id.in_(selection.patients), study.c.patient_name.in_(selection.patients))
        )
    if selection.received_since is not None:
        conditions.append(study.c.last_received_at >= selection.received_since)
    if selection.site:
        conditions.append(study.c.site == selection.site)
    query = (
        select(
            study.c.key,
            study.c.site,
            instance.c.calling_ae,
            instance.c.called_ae,
            instance.c.path,
            instance.c.purged,
        )
        .join(study, study.c.key == instance.c.study_key)
        .where(*conditions)
        .order_by(study.c.first_received_at, study.c.key, instance.c.id)
    )
    pattern = selection.calling_ae.upper()
    found: defaultdict[tuple[str, str, str, str], list[tuple[str, bool]]] = defaultdict(list)
    with ledger.read() as connection:
        for row in connection.execute(query):
            if not pattern or fnmatchcase(row.calling_ae.strip().upper(), pattern):
                found[row.key, row.site, row.calling_ae, row.called_ae].append((row.path, row.purged))
    return [_part(*names, files) for names, files in found.items()]


def _part(
    key: str, site: str, calling_ae: str, called_ae: str, files: Sequence[tuple[str, bool]]
) -> ArchivedPart:
    paths = tuple(path for path, purged in files if not purged)
    return ArchivedPart(StudyKey(key), site, calling_ae, called_ae, paths, len(files) - len(paths))
