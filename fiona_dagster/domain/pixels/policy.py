"""What a project wants done about text in pixels: where to look, what to mask, what a person looks at."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from fiona_dagster.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from fiona_dagster.domain.pixels.templates import Template

T = TypeVar("T")
PixelMode = Literal["off", "secondary_and_ultrasound", "all", "hold"]
"""Which objects are masked: none, secondary captures and ultrasound, all. What may carry text otherwise is held."""
MaskKind = Literal["all", "identifiers"]
"""What is masked: everything but harmless words, or what is or resembles an identifier."""
EXCLUSIONS = "rewritepixelexclusions"
"""FIONA's repeating instrument: `rewrite_ex_tag` and `rewrite_ex_reg` name images that keep their pixels."""
REVIEWED_PERCENT = 10
_MODES: dict[str, PixelMode] = {
    "0": "off", "1": "secondary_and_ultrasound", "2": "all", "3": "hold",
}  # fmt: skip
_KINDS: dict[str, MaskKind] = {"0": "all", "1": "identifiers"}
_EXCLUSION_FIELDS = ("rewrite_ex_tag", "rewrite_ex_reg")
_EXCLUSION_TAGS = {"1": 0x00204000, "2": 0x0008103E}
"""ImageComments, SeriesDescription."""
_ULTRASOUND = frozenset({"US", "IVUS"})


class Exclusion(NamedTuple):
    """Images of which an attribute begins as `pattern` says keep their pixels, as in FIONA (`re.match`)."""

    tag: int
    pattern: str

    def matches(self, values: Sequence[str]) -> bool:
        """Whether one of the attribute's values begins so."""
        return any(re.match(self.pattern, value) for value in values)


@dataclass(frozen=True, slots=True)
class PixelPolicy:
    """What a project decided. `allowed` are words, in small letters, that stay beside those of our own list;
    `reviewed_percent` of the images that were read, and one masked image of each series, are shown to a person."""

    mode: PixelMode = "hold"
    mask: MaskKind = "all"
    allowed: frozenset[str] = frozenset()
    exclusions: tuple[Exclusion, ...] = ()
    reviewed_percent: int = REVIEWED_PERCENT
    templates: tuple[Template, ...] = ()

    @property
    def masks_any(self) -> bool:
        """Whether pixels are masked at all."""
        return self.mode in {"secondary_and_ultrasound", "all"}

    def masks(self, kind: str, modality: str) -> bool:
        """Whether a suspected object is masked, by the kind of its SOP Class and its Modality; else it is held."""
        if self.mode == "all":
            return True
        wanted = kind == "secondary_capture" or modality in _ULTRASOUND
        return self.mode == "secondary_and_ultrasound" and wanted

    def described(self) -> dict[str, Any]:
        """All that decides about pixels, for the method digest: where no pixel is masked, what is not held for them."""
        exclusions = [[f"{one.tag:08x}", one.pattern] for one in self.exclusions]
        if not self.masks_any:
            return {"exclusions": exclusions} if exclusions else {}
        return {
            "mask": self.mask,
            "allowed": sorted(self.allowed),
            "exclusions": exclusions,
            "templates": [one.described() for one in self.templates],
        }


def pixel_policy(row: Mapping[str, Any], name: str, place: str) -> PixelPolicy:
    """The policy from the fields of a project.

    Raises:
        ConfigurationError: a choice that is none.
    """
    return PixelPolicy(
        mode=_choice(row, "deid_pixel_mode", "3", _MODES, name, place),
        mask=_choice(row, "deid_pixel_mask", "0", _KINDS, name, place),
        allowed=_words(row.get("deid_pixel_allow")),
        exclusions=tuple(_exclusions(row.get(EXCLUSIONS), name, place)),
        reviewed_percent=_percent(row, name, place),
    )


def _choice(
    row: Mapping[str, Any], field: str, default: str, known: dict[str, T], name: str, place: str
) -> T:
    asked = row.get(field)
    text = default if asked in (None, "") else str(asked)
    if text not in known:
        raise ConfigurationError(
            f"{field} of {name} is {text}", place=place, remedy=f"use {', '.join(known)}"
        )
    return known[text]


def _words(asked: object) -> frozenset[str]:
    if isinstance(asked, (list, tuple)):
        asked = " ".join(str(one) for one in asked)
    return frozenset(re.split(r"[\s,;]+", str(asked or "").casefold())) - {""}


def _percent(row: Mapping[str, Any], name: str, place: str) -> int:
    asked = row.get("deid_pixel_review")
    if asked in (None, ""):
        return REVIEWED_PERCENT
    text = str(asked).strip()
    if not text.isdigit() or int(text) > 100:
        raise ConfigurationError(
            f"deid_pixel_review of {name} is no percentage",
            place=place,
            remedy="use a whole number from 0 to 100",
        )
    return int(text)


def _exclusions(asked: object, name: str, place: str) -> list[Exclusion]:
    if asked in (None, "", []):
        return []
    if not isinstance(asked, list) or not all(isinstance(one, dict) for one in asked):
        raise ConfigurationError(
            f"{EXCLUSIONS} of {name} is no list of fields", place=place, remedy="see docs/burned-in-text.md"
        )
    found = []
    for one in asked:
        unknown = [key for key in one if key.startswith("rewrite_ex") and key not in _EXCLUSION_FIELDS]
        if unknown:
            raise ConfigurationError(
                f"{EXCLUSIONS} of {name} has a field {unknown[0]}", place=place,
                remedy=f"its fields are {', '.join(_EXCLUSION_FIELDS)}",
            )  # fmt: skip
        tag, pattern = str(one.get("rewrite_ex_tag") or ""), str(one.get("rewrite_ex_reg") or "")
        if tag not in _EXCLUSION_TAGS or not pattern:
            raise ConfigurationError(
                f"an exclusion from masking of {name} has no rewrite_ex_tag or no rewrite_ex_reg", place=place,
                remedy="use 1 (ImageComments) or 2 (SeriesDescription), and a regular expression",
            )  # fmt: skip
        try:
            matches_nothing = re.match(pattern, "") is not None
        except re.error as error:
            raise ConfigurationError(
                f"rewrite_ex_reg of {name} is not a regular expression: {error}", place=place, remedy="mend it"
            ) from error  # fmt: skip
        if matches_nothing:
            raise ConfigurationError(
                f"rewrite_ex_reg of {name} matches every image", place=place,
                remedy="tick project_features 1 where the project vouches for all of its pixels",
            )  # fmt: skip
        found.append(Exclusion(_EXCLUSION_TAGS[tag], pattern))
    return found
