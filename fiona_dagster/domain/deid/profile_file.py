"""Reads a profile from YAML. A file that cannot be understood completely does not load, and the message has its line.

name: Cardiology
base: ps315                # or fiona; ps315 where it is left out
version: 2026c             # pins the base: another version of it does not load
options: [retain_patient_characteristics]
weakens: yes               # needed when an override keeps what the base would not
narrows: no                # needed when an override takes back what an option keeps
overrides:
  SeriesDescription: keep
  ProtocolName: empty
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiona_dagster.domain.deid.named_profiles import NAMES, named_profile
from fiona_dagster.domain.deid.profile import Profile, default_profile
from fiona_dagster.domain.deid.profile_checks import Wishes, Written, profile_of
from fiona_dagster.domain.errors import ConfigurationError

if TYPE_CHECKING:
    import yaml

_KEYS = ("name", "base", "version", "options", "weakens", "narrows", "overrides")


def profile_from_yaml(text: str, place: str) -> Profile:
    """The profile written in `text`.

    Args:
        text: the YAML.
        place: the file's name, for messages.

    Raises:
        ConfigurationError: an unknown key or base, or what `profile_of` refuses.
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
    if "name" not in parts:
        raise ConfigurationError("has no name", place=_at(root, place), remedy="add name: ...")
    wishes = Wishes(
        name=_written(parts["name"][1], place),
        version=_written(parts["version"][1], place) if "version" in parts else None,
        options=_options(parts["options"][1], place) if "options" in parts else (),
        overrides=_overrides(parts["overrides"][1], place) if "overrides" in parts else (),
        weakens=_said("weakens", parts, place),
        narrows=_said("narrows", parts, place),
    )
    return profile_of(_base(parts, place), wishes)


def _base(parts: dict[str, tuple[yaml.Node, yaml.Node]], place: str) -> Profile:
    if "base" not in parts:
        return default_profile()
    asked = _written(parts["base"][1], place)
    profile = named_profile(asked.text)
    if profile is None:
        raise ConfigurationError(
            f"'{asked.text}' is not a profile that we have",
            place=asked.place,
            remedy=f"use {', '.join(NAMES)}",
        )
    return profile


def _said(key: str, parts: dict[str, tuple[yaml.Node, yaml.Node]], place: str) -> bool:
    if key not in parts:
        return False
    said = _written(parts[key][1], place)
    if said.text.lower() not in {"yes", "no", "true", "false"}:
        raise ConfigurationError(f"{key} is '{said.text}'", place=said.place, remedy="say yes or no")
    return said.text.lower() in {"yes", "true"}


def _options(node: yaml.Node, place: str) -> list[Written]:
    import yaml

    if not isinstance(node, yaml.SequenceNode):
        raise ConfigurationError(
            "options is not a list", place=_at(node, place), remedy="write [option, option]"
        )
    return [_written(one, place) for one in node.value]


def _overrides(node: yaml.Node, place: str) -> list[tuple[Written, Written]]:
    return [
        (Written(attribute, _at(key, place)), _written(value, place))
        for attribute, (key, value) in _mapping(node, place).items()
    ]


def _written(node: yaml.Node, place: str) -> Written:
    return Written(_scalar(node, place), _at(node, place))


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
