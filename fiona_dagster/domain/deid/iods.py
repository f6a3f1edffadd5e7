"""What PS3.3 demands of an object type, of the attributes for which PS3.15 leaves a choice of actions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import TypeVar

from fiona_dagster.domain.deid.dictionary import tag_of
from fiona_dagster.domain.deid.table import rows

EDITION = "2024e"
STRICTEST_FIRST = ("1", "1C", "2", "2C", "3")
"""Types (PS3.5 7.4): 1 with a value, 2 present, 3 optional; C where a condition holds."""
Path = tuple[int, ...]
"""Tags of the enclosing sequences and of the attribute itself, the outermost first."""
T = TypeVar("T")


def folded(path: Iterable[T]) -> tuple[T, ...]:
    """A path in which a sequence that holds itself (Content Sequence) stands once."""
    shorter: list[T] = []
    for one in path:
        if not shorter or shorter[-1] != one:
            shorter.append(one)
    return tuple(shorter)


@lru_cache(maxsize=512)
def demanded(sop_class_uid: str) -> Mapping[Path, str] | None:
    """The Type by path of the attributes that the IOD demands; all others are optional or not in it.

    None where the IOD is not known. Where modules differ the strictest Type counts, whether the module is mandatory
    or not: an attribute that is there is taken as sign of its module.
    """
    modules = _modules().get(sop_class_uid)
    if modules is None:
        return None
    types: dict[Path, str] = {}
    for module in modules:
        for path, kind in _types()[module].items():
            types[path] = min(kind, types.get(path, kind), key=STRICTEST_FIRST.index)
    return types


@cache
def _modules() -> dict[str, list[str]]:
    return {row["sop_class_uid"]: row["modules"].split() for row in rows(f"iod_modules_{EDITION}.csv")}


@cache
def _types() -> dict[str, dict[Path, str]]:
    found: dict[str, dict[Path, str]] = {}
    for row in rows(f"module_types_{EDITION}.csv"):
        path = tuple(tag_of(keyword) or 0 for keyword in row["path"].split("."))
        found.setdefault(row["module"], {})[path] = row["type"]
    return found
