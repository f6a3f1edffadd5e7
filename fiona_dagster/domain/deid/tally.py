"""What became of the elements of many instances, counted: attributes, actions and shapes, never values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from fiona_dagster.domain.deid.difference import ACTIONS, LEAVES_SOMETHING, Change

Kind = Literal["newly_kept", "newly_removed", "differently_changed"]
KINDS: tuple[Kind, ...] = ("newly_kept", "newly_removed", "differently_changed")
MOST_SHAPES = 4
_OTHERS = "…"


@dataclass(frozen=True, slots=True)
class Line:
    """An attribute that met the same actions (one a copy) in `instances` instances.

    `shapes` are the most frequent ones of what stands in each copy; repeated items of an instance count once.
    """

    attribute: str
    vr: str
    actions: tuple[str, ...]
    differs: bool
    instances: int
    shapes: tuple[tuple[str, ...], ...]

    @property
    def kind(self) -> Kind:
        """How the second copy's outcome differs from the first's, by whether it leaves something of the original."""
        before, after = (action in LEAVES_SOMETHING for action in self.actions)
        if before is after:
            return "differently_changed"
        return "newly_kept" if after else "newly_removed"


@dataclass
class Tally:
    """Counts changes, instance by instance."""

    instances: int = 0
    _counts: Counter[tuple[str, str, tuple[str, ...], bool]] = field(default_factory=Counter)
    _shapes: dict[tuple[str, str, tuple[str, ...], bool], tuple[Counter[str], ...]] = field(
        default_factory=dict
    )

    def add(self, changes: Iterable[Change]) -> None:
        """Take the changes of one instance."""
        self.instances += 1
        seen = set()
        for change in changes:
            actions = tuple(one.action for one in change.outcomes)
            key = (change.attribute, change.vr, actions, _differs(change))
            seen.add(key)
            shapes = self._shapes.setdefault(key, tuple(Counter() for _ in actions))
            for counter, outcome in zip(shapes, change.outcomes, strict=True):
                if outcome.shape:
                    counter[outcome.shape] += 1
        self._counts.update(seen)

    def lines(self) -> list[Line]:
        """All that was counted, by attribute."""
        made = [
            Line(*key, instances, tuple(tuple(_most(one)) for one in self._shapes[key]))
            for key, instances in self._counts.items()
        ]
        return sorted(made, key=lambda line: (line.attribute, line.vr, [*map(ACTIONS.index, line.actions)]))

    def differences(self) -> dict[Kind, list[Line]]:
        """What became of attributes in the second copies and not in the first, by kind."""
        found: dict[Kind, list[Line]] = {kind: [] for kind in KINDS}
        for line in self.lines():
            if line.differs:
                found[line.kind].append(line)
        return found


def _differs(change: Change) -> bool:
    """What is made anew says whose copy it is and by which method: that two profiles have two names is no news."""
    return not change.alike and any(one.action != "made anew" for one in change.outcomes)


def _most(counter: Counter[str]) -> Iterator[str]:
    ordered = sorted(counter.items(), key=lambda one: (-one[1], one[0]))
    yield from (shape for shape, _ in ordered[:MOST_SHAPES])
    if len(ordered) > MOST_SHAPES:
        yield _OTHERS
