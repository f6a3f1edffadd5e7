"""Reads a profile from YAML. A file that cannot be understood completely does not load, and the message has its line.

name: Cardiology
options: [retain_patient_characteristics]
weakens: yes            # needed when an override keeps what the Basic Profile would not
overrides:
  SeriesDescription: keep
  ProtocolName: empty
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydicom.datadict import tag_for_keyword

from fiona_dagster.domain.deid.conventions import is_written_by_us
from fiona_dagster.domain.deid.profile import Code, Option, Profile, is_removed_group
from fiona_dagster.domain.deid.table import standard_vr
from fiona_dagster.domain.errors import ConfigurationError

if TYPE_CHECKING:
    import yaml

_STRICTNESS = {
    Code.REMOVE: 4, Code.EMPTY: 3, Code.REPLACE: 3, Code.UID: 2, Code.DATE: 1, Code.CLEAN: 1, Code.KEEP: 0,
}  # fmt: skip
_KEYS = ("name", "options", "weakens", "overrides")
_NAME = re.compile(r"^[\w .+-]{1,40}$")
_ONLY_FOR = {Code.UID: {"UI"}, Code.DATE: {"DA", "DT", "TM"}}


def profile_from_yaml(text: str, place: str) -> Profile:
    """The profile written in `text`.

    Args:
        text: the YAML.
        place: the file's name, for messages.

    Raises:
        ConfigurationError: an unknown key, option, keyword or action; an action that does not fit the attribute; an
            override that weakens the Basic Profile in a file that does not say `weakens: yes`.
    """
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{place}:{mark.line + 1}" if mark else place
        raise ConfigurationError("is not YAML", place=where, remedy="mend that line") from None
    if root is None:
        raise ConfigurationError("is empty", place=place, remedy="give the profile a name")
    parts = _mapping(root, place)
    for key, (node, _) in parts.items():
        if key not in _KEYS:
            raise ConfigurationError(
                f"'{key}' is not known", place=_at(node, place), remedy=f"use {', '.join(_KEYS)}"
            )
    weakens = "weakens" in parts and _scalar(parts["weakens"][1], place).lower() in {"yes", "true"}
    overrides = (
        tuple(
            _override(key, node, value, place, weakens=weakens)
            for key, (node, value) in _mapping(parts["overrides"][1], place).items()
        )
        if "overrides" in parts
        else ()
    )
    return Profile(
        name=_name(parts, root, place),
        options=_options(parts["options"][1], place) if "options" in parts else frozenset(),
        overrides=tuple(sorted(overrides)),
    )


def _name(parts: dict[str, tuple[yaml.Node, yaml.Node]], root: yaml.Node, place: str) -> str:
    if "name" not in parts:
        raise ConfigurationError("has no name", place=_at(root, place), remedy="add name: ...")
    name = _scalar(parts["name"][1], place)
    if not _NAME.match(name):
        raise ConfigurationError(
            "the name cannot be written into DeidentificationMethod",
            place=_at(parts["name"][1], place),
            remedy="use at most 40 letters, digits, blanks, '.', '+', '-' or '_'",
        )
    return name


def _options(node: yaml.Node, place: str) -> frozenset[Option]:
    import yaml

    if not isinstance(node, yaml.SequenceNode):
        raise ConfigurationError(
            "options is not a list", place=_at(node, place), remedy="write [option, option]"
        )
    chosen = set()
    for one in node.value:
        text = _scalar(one, place)
        try:
            chosen.add(Option(text))
        except ValueError:
            remedy = f"use {', '.join(Option)}"
            if "date" in text:
                remedy += "; dates are chosen by the project's deid_date_mode"
            raise ConfigurationError(
                f"'{text}' is not an option that we have", place=_at(one, place), remedy=remedy
            ) from None
    return frozenset(chosen)


def _override(
    keyword: str, node: yaml.Node, value: yaml.Node, place: str, *, weakens: bool
) -> tuple[int, Code]:
    where = _at(node, place)
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ConfigurationError(
            f"'{keyword}' is not a keyword of the data dictionary", place=where, remedy="check the spelling"
        )
    if is_written_by_us(keyword) or is_removed_group(tag):
        raise ConfigurationError(f"{keyword} cannot be overridden", place=where, remedy="leave it out")
    action = _scalar(value, place)
    try:
        code = Code(action)
    except ValueError:
        raise ConfigurationError(
            f"'{action}' is not an action", place=_at(value, place), remedy=f"use {', '.join(Code)}"
        ) from None
    _check_fits(keyword, tag, code, where)
    basic = Profile().code(tag, standard_vr(tag) or "", "per_participant")
    if _STRICTNESS[code] < _STRICTNESS[basic] and not weakens:
        raise ConfigurationError(
            f"{keyword}: {code} weakens the Basic Profile ({basic})",
            place=where,
            remedy="say `weakens: yes` in the file if that is meant",
        )
    return tag, code


def _check_fits(keyword: str, tag: int, code: Code, where: str) -> None:
    vr = standard_vr(tag) or ""
    wrong = code in _ONLY_FOR and vr not in _ONLY_FOR[code]
    if vr == "SQ" and code not in {Code.KEEP, Code.REMOVE, Code.EMPTY}:
        wrong = True
    if wrong:
        raise ConfigurationError(
            f"{code} does not fit {keyword}, which has VR {vr}", place=where, remedy="use another action"
        )


def _mapping(node: yaml.Node, place: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    import yaml

    if not isinstance(node, yaml.MappingNode):
        raise ConfigurationError("is not a mapping", place=_at(node, place), remedy="write key: value lines")
    found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    for key, value in node.value:
        name = _scalar(key, place)
        if name in found:
            raise ConfigurationError(f"'{name}' stands twice", place=_at(key, place), remedy="remove one")
        found[name] = (key, value)
    return found


def _scalar(node: yaml.Node, place: str) -> str:
    import yaml

    if not isinstance(node, yaml.ScalarNode):
        raise ConfigurationError("a single value is wanted", place=_at(node, place), remedy="write one word")
    return str(node.value)


def _at(node: yaml.Node, place: str) -> str:
    return f"{place}:{node.start_mark.line + 1}"
