"""What Incoming is told of text in the pixels of a series (`series_burned_in`), from what became of its images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fiona_dagster.domain.pixels.masks import Masking
from fiona_dagster.domain.pixels.suspicion import MAY_CARRY_TEXT, SAYS_YES, classified_reason
from fiona_dagster.domain.registration import BurnedIn

if TYPE_CHECKING:
    from fiona_dagster.domain.classification import ClassifiedSeries
    from fiona_dagster.domain.transfer import ReleaseRow

_KNOWLEDGE = (BurnedIn.SUSPECTED, BurnedIn.NONE, BurnedIn.PRESENT, BurnedIn.REDACTED)
"""Of one image, the later outweighs the earlier: one project suspects, another has read."""


def is_redacted(rows: Iterable[ReleaseRow]) -> bool:
    """Whether pixels of any copy were changed: box 3 of FIONA's `transfer_error`, which is no error."""
    return any(_state(row) is BurnedIn.REDACTED for row in rows if row.path)


def tells_of_pixels(row: ReleaseRow) -> bool:
    """Whether somebody looked, or should have."""
    return bool(row.masking) or MAY_CARRY_TEXT in row.reason


def burned_in_states(
    series: Sequence[ClassifiedSeries], series_of: dict[int, str], rows: Iterable[ReleaseRow]
) -> dict[str, BurnedIn]:
    """What is known by original Series Instance UID; nothing of series in which nobody has looked.

    Args:
        series: all of the study.
        series_of: Series Instance UID of each instance, by its number in the ledger.
        rows: of all transfers of the study.
    """
    of_images: dict[int, BurnedIn] = {}
    for row in rows:
        state = _state(row)
        if state is not None:
            known = of_images.get(row.instance_id, BurnedIn.SUSPECTED)
            of_images[row.instance_id] = max(state, known, key=_KNOWLEDGE.index)
    found = {
        one.series_instance_uid: BurnedIn.SUSPECTED
        for one in series
        if classified_reason(one.types, one.series_description)
    }
    read: dict[str, BurnedIn] = {}
    for identity, state in of_images.items():
        if identity in series_of:
            uid = series_of[identity]
            read[uid] = max(state, read.get(uid, state))
    return found | read


def _state(row: ReleaseRow) -> BurnedIn | None:
    masking = Masking.from_json(row.masking)
    if masking is not None and masking.was_searched:
        return BurnedIn.REDACTED if masking.changes_pixels else BurnedIn.NONE
    if SAYS_YES in row.reason:
        return BurnedIn.PRESENT
    return BurnedIn.SUSPECTED if MAY_CARRY_TEXT in row.reason else None
