"""Templates: where devices write into their images, in YAML that people read and correct.

    - name: maker-model-800x600
      when: {Manufacturer: "MAKER.*", Modality: US, Rows: 600, Columns: 800}
      mask: [[0, 0, 800, 40]]          # left, top, width, height in pixels of the stored matrix
      keep: [[100, 50, 600, 500]]      # instead of mask: everything else is masked
      read: no                         # what is left is not searched for text (it is, where this is not said)
      regions: no                      # the object's own ultrasound regions do not count (they do)

`when` names attributes by keyword; a text is a regular expression that must match the whole value, without case.
The first template that fits is taken. An unknown attribute or key refuses the whole file: a template that silently fits
nothing would leave text standing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fiona_dagster.domain.errors import ConfigurationError

Rectangle = tuple[int, int, int, int]
"""Left, top, width, height in pixels of the stored matrix."""
ATTRIBUTES = {
    "Manufacturer": 0x00080070,
    "ManufacturerModelName": 0x00081090,
    "SoftwareVersions": 0x00181020,
    "Modality": 0x00080060,
    "SOPClassUID": 0x00080016,
    "ImageType": 0x00080008,
    "PhotometricInterpretation": 0x00280004,
    "Rows": 0x00280010,
    "Columns": 0x00280011,
}
"""What a template may ask of an object; several values of an attribute are joined by backslashes."""
_KEYS = frozenset({"name", "when", "mask", "keep", "read", "regions"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_REMEDY = "see docs/burned-in-text.md"


@dataclass(frozen=True, slots=True)
class Template:
    """Where a kind of object has text. Exactly one of `mask` and `keep` is filled."""

    name: str
    when: tuple[tuple[str, str], ...]
    mask: tuple[Rectangle, ...] = ()
    keep: tuple[Rectangle, ...] = ()
    read: bool = True
    regions: bool = True

    def fits(self, described: Mapping[str, str]) -> bool:
        """Whether an object is of this kind; `described` are its values by keyword."""
        return all(
            re.fullmatch(pattern, described.get(keyword, ""), re.IGNORECASE) for keyword, pattern in self.when
        )

    def described(self) -> dict[str, Any]:
        """As it stands in YAML."""
        regions = {"mask": self.mask} if self.mask else {"keep": self.keep}
        plain = {
            "name": self.name,
            "when": {key: int(one) if one.isdigit() else one for key, one in self.when},
            **{key: [list(one) for one in boxes] for key, boxes in regions.items()},
        }
        return plain | {key: False for key in ("read", "regions") if not getattr(self, key)}


def fitting(templates: Iterable[Template], described: Mapping[str, str]) -> Template | None:
    """The first template that fits an object."""
    return next((one for one in templates if one.fits(described)), None)


@cache
def device_templates() -> tuple[Template, ...]:
    """Those that come with the gateway, of scanners whose places are published; a site's own stand before them."""
    import yaml

    path = Path(__file__).with_name("device_templates.yaml")
    return parse_templates(yaml.safe_load(path.read_text(encoding="utf-8")), path.name)


def parse_templates(content: object, place: str, lines: Sequence[int] = ()) -> tuple[Template, ...]:
    """Templates from what YAML holds; `lines` are where each begins, counted from 1.

    Raises:
        ConfigurationError: something in it cannot be understood; the first of all.
    """
    found, problems = templates_and_problems(content, place, lines)
    for one in problems:
        raise one
    return found


def templates_and_problems(
    content: object, place: str, lines: Sequence[int] = ()
) -> tuple[tuple[Template, ...], list[ConfigurationError]]:
    """The same with the first mistake of each template, for who mends the file."""
    if content is None:
        return (), []
    if not isinstance(content, list):
        return (), [ConfigurationError("is no list of templates", place=place, remedy=_REMEDY)]
    found: dict[str, Template] = {}
    problems = []
    for number, one in enumerate(content, 1):
        line = f":{lines[number - 1]}" if number <= len(lines) else ""
        try:
            template = _template(one, f"{place}{line}, template {number}")
        except ConfigurationError as error:
            problems.append(error)
            continue
        if template.name in found:
            problem = f"{template.name} stands there twice"
            where = f"{place}{line}, template {number}"
            problems.append(ConfigurationError(problem, place=where, remedy="give each its own name"))
        found.setdefault(template.name, template)
    return tuple(found.values()), problems


def proposed(
    name: str,
    described: Mapping[str, str],
    mask: Iterable[Rectangle],
    keep: Iterable[Rectangle] = (),
    *,
    read: bool = True,
) -> Template:
    """A template for objects like one that a person reviewed; without `read` what is left is not searched for text.

    Raises:
        ConfigurationError: the object does not say what it is, or the regions make no template.
    """
    wanted = (
        "Manufacturer",
        "ManufacturerModelName",
        "SoftwareVersions",
        "Modality",
        "PhotometricInterpretation",
    )
    when: dict[str, Any] = {key: re.escape(described[key]) for key in wanted if described.get(key)}
    if "Manufacturer" not in when and "ManufacturerModelName" not in when:
        raise ConfigurationError(
            "the image does not say which device made it",
            remedy="a template would fit images of other devices too: correct these images alone",
        )
    when |= {key: int(described[key]) for key in ("Rows", "Columns") if described.get(key)}
    regions = {"mask": sorted(set(mask)), "keep": sorted(set(keep))}
    content = {"name": name, "when": when, **{key: boxes for key, boxes in regions.items() if boxes}}
    return _template(content | ({} if read else {"read": False}), name)


def _template(content: object, place: str) -> Template:
    if not isinstance(content, dict) or not content.keys() <= _KEYS:
        unknown = sorted(map(str, content.keys() - _KEYS)) if isinstance(content, dict) else []
        problem = f"'{unknown[0]}' is not known" if unknown else "is no template"
        raise ConfigurationError(problem, place=place, remedy=_REMEDY)
    name, when = str(content.get("name") or ""), content.get("when")
    read, regions = content.get("read", True), content.get("regions", True)
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            "has no name of letters, digits, '.', '_' and '-'", place=place, remedy=_REMEDY
        )
    if not isinstance(when, dict) or not when or not {type(read), type(regions)} <= {bool}:
        raise ConfigurationError(
            "has no `when`, or `read` or `regions` is neither yes nor no", place=place, remedy=_REMEDY
        )
    conditions = tuple(_condition(key, value, place) for key, value in when.items())
    if not {"Rows", "Columns"} <= when.keys():
        raise ConfigurationError(
            "does not name Rows and Columns", place=place, remedy="regions hold for one size of image"
        )
    mask, keep = (_rectangles(content.get(key), key, place) for key in ("mask", "keep"))
    if bool(mask) == bool(keep):
        raise ConfigurationError("has both or none of `mask` and `keep`", place=place, remedy=_REMEDY)
    rows, columns = (int(when[key]) if isinstance(when[key], int) else None for key in ("Rows", "Columns"))
    for left, top, width, height in (*mask, *keep):  # where it only reaches beyond, it is cut
        if (columns is not None and left >= columns) or (rows is not None and top >= rows):
            raise ConfigurationError(
                f"[{left}, {top}, {width}, {height}] lies outside of the image", place=place,
                remedy="regions are [left, top, width, height] in pixels of the stored matrix",
            )  # fmt: skip
    return Template(name, conditions, mask, keep, read=read, regions=regions)


def _condition(key: object, value: object, place: str) -> tuple[str, str]:
    if key not in ATTRIBUTES:
        raise ConfigurationError(
            f"asks for '{key}'", place=place, remedy=f"attributes are: {', '.join(ATTRIBUTES)}"
        )
    if not isinstance(value, (str, int)) or isinstance(value, bool) or value == "":
        raise ConfigurationError(
            f"{key} is neither a text nor a number", place=place,
            remedy="write a regular expression, such as 'US|IVUS', in quotation marks",
        )  # fmt: skip
    pattern = str(value)
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigurationError(
            f"{key} is not a regular expression: {error}", place=place, remedy="mend the pattern"
        ) from error
    return str(key), pattern


def _rectangles(content: object, key: str, place: str) -> tuple[Rectangle, ...]:
    if content is None:
        return ()
    if isinstance(content, list):
        found = [tuple(one) for one in content if isinstance(one, (list, tuple)) and len(one) == 4]
        if len(found) == len(content) and all(_is_rectangle(one) for one in found):
            return tuple((int(left), int(top), int(wide), int(high)) for left, top, wide, high in found)
    raise ConfigurationError(
        f"`{key}` is no list of [left, top, width, height]", place=place,
        remedy="use whole numbers of pixels; width and height at least 1",
    )  # fmt: skip


def _is_rectangle(one: tuple[Any, ...]) -> bool:
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in one)
    return whole and one[0] >= 0 and one[1] >= 0 and one[2] >= 1 and one[3] >= 1
