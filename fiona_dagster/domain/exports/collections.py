"""A package of many studies of one project: its name, its studies' places, and the list of downloads (`.fiona`)."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.exports.bids import Session, label
from fiona_dagster.domain.exports.formats import ExportType
from fiona_dagster.domain.exports.profiles import ExportProfile
from fiona_dagster.domain.layout import safe_name

_NAMES_ITS_PATIENT = frozenset({ExportType.PURE, ExportType.SPECTROSCOPY, ExportType.RAM_MS, ExportType.BIDS})


@dataclass(frozen=True)
class Member:
    """One study of a collection, as the ledger names it; ordered by participant, event and study key."""

    participant: str
    event: str
    study_key: str


@dataclass(frozen=True)
class Place:
    """Where a study lies: `prefix` stands before its files' names, `session` is its place in a BIDS dataset."""

    prefix: str
    session: Session


def places(members: Sequence[Member], profile: ExportProfile) -> dict[str, Place]:
    """The place of every study, by its key.

    Trees that do not name the participant get a folder for each; a participant's second study of an event gets a
    number, in the order of study keys.

    Raises:
        Permanent: two participants would get one name: one's images would pass for the other's.
    """
    by_label: dict[str, str] = {}
    for one in members:
        name = (
            label(one.participant)
            if profile.export_type is ExportType.BIDS
            else safe_name(one.participant.replace("_", "-")).lower()
        )
        if by_label.setdefault(name, one.participant) != one.participant:
            raise Permanent(
                "two participants of the export differ only in characters that its names cannot hold"
            )
    own_tree = profile.template is not None or profile.export_type in _NAMES_ITS_PATIENT
    occurred: Counter[tuple[str, str]] = Counter()
    found = {}
    for one in sorted(members, key=lambda one: (one.participant, one.event, one.study_key)):
        occasion = (one.participant, label(one.event, fallback="1"))
        occurred[occasion] += 1
        number = occurred[occasion]
        prefix = ""
        if not own_tree:
            prefix = safe_name(one.participant) + (f"/{number}" if number > 1 else "")
        subject = label(one.participant) if profile.export_type is ExportType.BIDS else "x"
        session = occasion[1] + (f"x{number}" if number > 1 else "")
        found[one.study_key] = Place(prefix, Session(subject, session))
    return found


def collection_name(project: str, members: Sequence[Member], profile: ExportProfile, *, whole: bool) -> str:
    """`<project>_<exportType>.zip`; a selection has a digest of its studies in it."""
    chosen = "" if whole else f"_{len(members)}-studies-{_digest(members)}"
    return f"{safe_name(project)}{chosen}_{profile.label}.zip"


def download_list(packages: Sequence[tuple[str, str]], *, project: str) -> str:
    """A `.fiona` file for FIONA-downloader: `filename,MD5` a line, `#` before remarks (fiona-behaviour 5.2)."""
    return f"# {project}: {len(packages)} package(s)\n" + "".join(f"{name},{md5}\n" for name, md5 in packages)


def _digest(members: Sequence[Member]) -> str:
    text = "\n".join(sorted(one.study_key for one in members))
    return hashlib.sha256(text.encode()).hexdigest()[:8]
