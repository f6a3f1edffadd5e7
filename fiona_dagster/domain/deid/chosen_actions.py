"""The actions of one project and participant: what each of a profile's codes does to a value."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from fiona_dagster.domain.deid.actions import (
    Action,
    Empty,
    Keep,
    MapUid,
    Pseudonym,
    Remove,
    Replace,
    ShiftDate,
)
from fiona_dagster.domain.deid.cleaning import CleanDocument, CleanHeader, CleanText, KeepTechnical
from fiona_dagster.domain.deid.conventions import pseudonyms
from fiona_dagster.domain.deid.dates import DateShift, shift_days
from fiona_dagster.domain.deid.originals import OriginalValues
from fiona_dagster.domain.deid.profile import Code, Option, Profile, effective_vr
from fiona_dagster.domain.deid.uids import uid_map
from fiona_dagster.domain.deidentification import ReleaseRequest

if TYPE_CHECKING:
    from fiona_dagster.domain.deid.free_text import FreeText
    from fiona_dagster.domain.deid.residuals import ResidualSearch

Originals = Callable[[], OriginalValues]
"""What identifies in all originals of a study; asked for only where an action looks inside of values."""

_CLEANING = frozenset(
    {
        Option.CLEAN_DESCRIPTORS,
        Option.CLEAN_GRAPHICS,
        Option.CLEAN_STRUCTURED_CONTENT,
        Option.RETAIN_INSTITUTION_IDENTITY,
        Option.RETAIN_PATIENT_CHARACTERISTICS,
        Option.RETAIN_SAFE_PRIVATE,
    }
)
"""Options that let people's own words stay, for which all originals are read to know the study's names. Without them
only labels are cleaned, by the vocabulary alone: a label that is a name of the study is found by verification."""


class ChosenActions:
    """What happens to values, for one profile, project and participant."""

    def __init__(self, profile: Profile, request: ReleaseRequest, key: bytes, originals: Originals) -> None:
        """Raises ConfigurationError where the UID root is unusable."""
        project = request.project
        self._originals = originals
        self._cleans_for_people = cleans_for_people(profile)
        origin = request.made_of
        self.map_uid = uid_map(
            project,
            key,
            retained=Option.RETAIN_UIDS in profile.options,
            of_copies=origin.uids if origin else frozenset(),
        )
        self._kept_uid = MapUid(
            uid_map(project, key, retained=True),
            "kept; what is no UID is replaced by the project's keyed UID",
        )
        shift = DateShift(
            shift_days(project, request.participant, key),
            year_only=project.date_mode == "year",
            moved=origin.days if origin else frozenset(),
        )
        self._actions: dict[Code, Action] = {
            Code.KEEP: Keep(),
            Code.REMOVE: Remove(),
            Code.EMPTY: Empty(),
            Code.REPLACE: Replace(),
            Code.UID: MapUid(self.map_uid),
            Code.DATE: ShiftDate(shift),
            Code.CLEAN: CleanText(self._cleaned),
            Code.TECHNICAL: KeepTechnical(),
            Code.CSA: CleanHeader(self._identifies, self._stands_in),
        }
        self._pseudonyms: dict[int, Action] = {
            tag: Pseudonym(made, meaning) for tag, (made, meaning) in pseudonyms(request, key).items()
        }

    def of(self, code: Code, tag: int, declared_vr: str = "") -> Action:
        """What happens to an attribute's value where the rules say `code`."""
        made = self._pseudonyms.get(tag)
        if made is not None:
            return made
        if code is Code.KEEP and effective_vr(tag, declared_vr) == "UI":
            return self._kept_uid
        return self._actions[code]

    def is_made(self, tag: int) -> bool:
        """Whether an attribute's value is made anew, wherever it stands."""
        return tag in self._pseudonyms

    def document(self, mime: str) -> Action:
        """What happens to an encapsulated document of a MIME type."""
        return CleanDocument(mime, self._identifies, self._cleaned_knowing_people)

    def _cleaned(self, text: str) -> str:
        return self._free_text.clean(text)

    def _cleaned_knowing_people(self, text: str) -> str:
        return self._free_text_of_people.clean(text)

    def _identifies(self, text: str) -> bool:
        return self._search.in_text(text)

    def _stands_in(self, value: bytes) -> bool:
        return self._search.in_bytes(value)

    @cached_property
    def _values(self) -> OriginalValues:
        return self._originals()

    @cached_property
    def _free_text(self) -> FreeText:
        return free_text_of(self._values if self._cleans_for_people else OriginalValues())

    @cached_property
    def _free_text_of_people(self) -> FreeText:
        """Knows the study's names whatever the profile: a document is always people's own words."""
        return free_text_of(self._values)

    @cached_property
    def _search(self) -> ResidualSearch:
        from fiona_dagster.domain.deid.residuals import ResidualSearch

        return ResidualSearch(self._values, ())


def cleans_for_people(profile: Profile) -> bool:
    """Whether a profile lets people's own words stay, so that the cleaner must know the study's names."""
    return bool(profile.options & _CLEANING) or Code.CLEAN in dict(profile.overrides).values()


def free_text_of(values: OriginalValues) -> FreeText:
    """The cleaner of free text that knows what identifies in a study."""
    from fiona_dagster.domain.deid.free_text import FreeText, KnownNames

    identifiers = values.identifiers | values.devices | values.phrases | values.telephones
    return FreeText(KnownNames(frozenset(values.names), frozenset(values.full_names), frozenset(identifiers)))
