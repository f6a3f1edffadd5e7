"""CPU seconds of a process with all its descendants, from Linux's /proc: it holds on a machine that does other work."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class TreeCpu:
    """User and system seconds: `own` of the process itself, `children` of all that it started, ended ones included.

    What ended counts once its parent waited for it, which the gateway's processes do.
    """

    own: float
    children: float

    @property
    def total(self) -> float:
        return self.own + self.children

    def __sub__(self, before: TreeCpu) -> TreeCpu:
        return TreeCpu(self.own - before.own, self.children - before.children)


def cpu_of(pid: int) -> TreeCpu:
    """What the process `pid` and its descendants have used; zero where it is gone."""
    times: dict[int, list[float]] = {}
    below: defaultdict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "stat").read_text()
        except OSError:
            continue  # it ended meanwhile; its parent has its times
        fields = text[text.rindex(")") + 2 :].split()  # from field 3 on, proc(5): the name may hold blanks
        times[int(entry.name)] = [int(value) / _TICKS for value in fields[11:15]]
        below[int(fields[1])].append(int(entry.name))
    if pid not in times:
        return TreeCpu(0.0, 0.0)
    user, system, *waited = times[pid]
    children, todo = sum(waited), list(below[pid])
    while todo:
        one = todo.pop()
        children += sum(times[one])
        todo += below[one]
    return TreeCpu(user + system, children)
