"""What results were made of: the copies of a study, and who identified in its originals.

A result is de-identified as any other study is, with two differences. What it has from the copies was made new once
already and stays, so that it still fits them: UIDs, days, the numbers of the study. And it is searched for everything
that was taken out of the originals of those copies, because the person at the workstation may have known it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from fiona_dagster.domain.deid.conventions import EVENT_PREFIX, made_accession, made_study_id
from fiona_dagster.domain.deid.dates import DateShift, shift_days
from fiona_dagster.domain.deid.originals import OriginalValues
from fiona_dagster.domain.deid.profile import Option
from fiona_dagster.domain.deid.uids import uid_map
from fiona_dagster.domain.deid.walk import Found
from fiona_dagster.domain.deidentification import Origin, ReleaseRequest

_STUDY_INSTANCE_UID = 0x0020000D
_DAY = 8
_MOVING = frozenset({"per_project", "per_participant", "year"})


@dataclass(frozen=True)
class CopiedStudy:
    """A study whose copies were released: what was taken out of its originals, and how it was known."""

    values: OriginalValues
    study_instance_uid: str
    accession_number: str


def origin_of(copied: CopiedStudy, request: ReleaseRequest, key: bytes) -> Origin:
    """What results made of these copies may have from them, and what they must not have.

    Args:
        copied: the originals.
        request: that the copies were made by.
        key: that they were made with.
    """
    project = request.project
    mapped = uid_map(project, key, retained=Option.RETAIN_UIDS in project.profile.options)
    originals = copied.values.uids | {copied.study_instance_uid}
    # FIONA's scheme pads a Study Instance UID otherwise than other UIDs
    uids = {mapped(uid, tag) for uid in originals for tag in (0, _STUDY_INSTANCE_UID)}
    shift = DateShift(shift_days(project, request.participant, key), year_only=project.date_mode == "year")
    moved = {shift.value(vr, text)[:_DAY] for vr, text in copied.values.date_texts if vr in {"DA", "DT"}}
    new_study_uid = mapped(copied.study_instance_uid, _STUDY_INSTANCE_UID)
    return Origin(
        values=copied.values,
        uids=frozenset(uids),
        days=frozenset(day for day in moved if len(day) == _DAY)
        if project.date_mode in _MOVING
        else frozenset(),
        study_id=made_study_id(project, copied.study_instance_uid, new_study_uid),
        accession=made_accession(project, key, copied.accession_number.strip(), copied.study_instance_uid),
    )


def strange_origin(values: OriginalValues) -> Origin:
    """Of copies that were made for another project or participant: nothing of theirs stays."""
    return Origin(values, frozenset(), frozenset(), "", "")


def known_values(facts: Mapping[int, tuple[str, str]]) -> OriginalValues:
    """What identifies in values by tag, each with its VR: for originals of which nothing else is left."""
    values = OriginalValues()
    values.gather(
        Found((tag,), vr, vr, text.encode("utf-8", "replace"), ("utf8",)) for tag, (vr, text) in facts.items()
    )
    return values


def joined_origins(origins: Iterable[Origin], more_uids: Iterable[str] = ()) -> Origin | None:
    """One origin of several transfers' copies; None of none. `more_uids` are those of earlier results."""
    every = sorted(origins, key=lambda one: not one.study_id)
    if not every:
        return None
    values = OriginalValues()
    for one in every:
        values.merge(one.values)
    return replace(
        every[0],
        values=values,
        uids=frozenset().union(more_uids, *(one.uids for one in every)),
        days=frozenset().union(*(one.days for one in every)),
    )


def not_of_the_copies(elements: Iterable[Found], request: ReleaseRequest) -> Iterator[Found]:
    """The elements of an original but those that a result has from the copies: they identify nobody."""
    if request.made_of is None:
        return iter(elements)
    return (one for one in elements if not _is_of_the_copies(one, request, request.made_of))


def _is_of_the_copies(found: Found, request: ReleaseRequest, origin: Origin) -> bool:
    texts = [text for text in found.texts() if text]
    if found.vr == "UI":
        return all(text in origin.uids for text in texts)
    if found.vr in {"DA", "DT"}:
        return all(text[:_DAY] in origin.days for text in texts)
    written = {request.participant, request.project.name, request.event, EVENT_PREFIX + request.event,
               origin.study_id, origin.accession}  # fmt: skip
    return all(text in written for text in texts) and origin.study_id != ""
