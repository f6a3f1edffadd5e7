"""projects.yaml, read so that every problem has its line, and one project's mistake is that project's alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fiona_dagster.domain.errors import ConfigurationError

SEE = "see docs/configuration.md"


@dataclass(frozen=True)
class ProjectRow:
    """One entry of the list: its fields, its line and theirs; `problem` where it cannot be read as it stands.

    `name` is the project's as far as it can be told, '' where it cannot.
    """

    fields: Mapping[str, Any]
    place: str
    lines: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    name: str = ""

    def place_of(self, problem: str) -> str:
        """Where the field stands that a problem names first, else the project itself."""
        named = [one for one in self.lines if one in problem]
        if not named:
            return self.place
        return self.lines[min(named, key=lambda one: (problem.index(one), -len(one)))]


def project_rows(path: Path) -> list[ProjectRow]:
    """The projects of a file in their order; none where there is no file.

    Raises:
        ConfigurationError: the file as a whole cannot be read.
    """
    if not path.exists():
        return []
    try:
        text = path.read_text(encoding="utf-8")
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            rows = list(_rows(loader, root, path))
        finally:
            loader.dispose()  # type: ignore[no-untyped-call]
    except UnicodeDecodeError:
        raise ConfigurationError("is not UTF-8", place=str(path), remedy="save it as UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigurationError("is not YAML", place=place, remedy="mend that line") from None
    return rows


def _rows(loader: yaml.SafeLoader, root: yaml.Node | None, path: Path) -> Iterator[ProjectRow]:
    if root is None:
        return
    found = [value for key, value in _pairs(root) if key.value == "projects"]
    if len(found) > 1:
        raise ConfigurationError(
            "has the list 'projects' twice", place=_place(path, found[1]), remedy="make one list of them"
        )
    if not found and isinstance(root, yaml.ScalarNode) and root.value in {"", "null", "~"}:
        return
    if not found or not isinstance(found[0], yaml.SequenceNode):
        raise ConfigurationError("has no list 'projects'", place=str(path), remedy=SEE)
    for node in found[0].value:
        yield _row(loader, node, path)


def _row(loader: yaml.SafeLoader, node: yaml.Node, path: Path) -> ProjectRow:
    place = _place(path, node)
    twice = next(keys_twice(node), None)
    if twice is not None:
        problem = f"{_called(node)}: '{twice.value}' stands there twice — take out the one or the other"
        return ProjectRow({}, _place(path, twice), problem=problem, name=_name(node))
    try:
        fields = loader.construct_object(node, deep=True)  # type: ignore[no-untyped-call]
    except yaml.YAMLError:
        problem = f"{_called(node)}: a value cannot be read — {SEE}"
        return ProjectRow({}, place, problem=problem, name=_name(node))
    destinations = fields.get("destinations") or [] if isinstance(fields, dict) else None
    if not isinstance(destinations, list) or not all(isinstance(one, dict) for one in destinations):
        problem = f"{_called(node)} or its destinations is not a list of fields — {SEE}"
        return ProjectRow({}, place, problem=problem, name=_name(node))
    lines = {str(key.value): _place(path, key) for key, _ in _pairs(node)} | _lines_inside(node, path)
    return ProjectRow(fields, place, lines, name=_name(node))


def _lines_inside(node: yaml.Node, path: Path) -> dict[str, str]:
    """Lines of destinations' fields; of exports and theirs by how a problem names them (`domain.exports.profiles`)."""
    found: dict[str, str] = {}
    for key, exports in _pairs(node):
        if key.value == "destinations" and isinstance(exports, yaml.SequenceNode):
            for one in exports.value:
                found |= {f"'{field.value}'": _place(path, field) for field, _ in _pairs(one)}
        if key.value == "export_profiles" and isinstance(exports, yaml.SequenceNode):
            for number, one in enumerate(exports.value, start=1):
                found[f"export {number}:"] = _place(path, one)
                found |= {f"export {number}: {field.value}": _place(path, field) for field, _ in _pairs(one)}
    return found


def keys_twice(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    """Keys, at any depth, that stand twice in one mapping: YAML parsers take the last without a word."""
    seen = set()
    for key, value in _pairs(node):
        if key.value in seen:
            yield key
        seen.add(key.value)
        yield from keys_twice(value)
    if isinstance(node, yaml.SequenceNode):
        for one in node.value:
            yield from keys_twice(one)


def _pairs(node: yaml.Node) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        return []
    return [(key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)]


def _name(node: yaml.Node) -> str:
    names = [value.value for key, value in _pairs(node) if key.value == "project_name"]
    return names[0] if names and isinstance(names[0], str) else ""


def _called(node: yaml.Node) -> str:
    return _name(node) or "a project"


def _place(path: Path, node: yaml.Node) -> str:
    return f"{path}:{node.start_mark.line + 1}"
