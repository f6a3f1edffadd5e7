"""Tables and bars of the benchmark of reception, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.measure import ratios, spread
from benchmarks.receivers import Receiver

_MEGABYTE = 1e6
_SET_NAMES = {"ct": "CT, 0.53 MB", "mr": "MR, 52 kB", "mf": "one enhanced CT"}


@dataclass(frozen=True)
class Case:
    """A set, sent over so many Associations at the same time, Nagle's algorithm on at the sender or not."""

    set: str
    associations: int
    nagle: bool


@dataclass(frozen=True)
class Measurement:
    """One receiver in one case of one round."""

    receiver: str
    case: Case
    round: int
    files: int
    size: int
    seconds: float
    cpu: float
    rss: int
    behind: float
    problem: str
    ours: bool
    receiving_cpu: float = 0.0
    """CPU seconds of the receiver between the start and the end of the senders."""
    sending_cpu: float = 0.0
    """CPU seconds of the senders."""


@dataclass(frozen=True)
class Bar:
    """What is asked of ours: at least so many times another's images a second."""

    receiver: str
    than: str
    factor: float
    set: str
    associations: int = 4
    nagle: bool = False


BARS = (
    Bar("ours, no sync", "storescp tuned", 1.2, "ct"),
    Bar("ours, no sync", "storescp tuned", 1.0, "mr"),
    Bar("ours", "storescp tuned", 0.8, "ct"),
    Bar("ours", "storescp tuned", 0.8, "mr"),
    Bar("ours", "Orthanc tuned", 4, "ct"),
    Bar("ours", "Orthanc tuned", 4, "mr"),
    Bar("ours", "storescp", 25, "ct", 1, nagle=True),
    Bar("ours", "storescp", 25, "mr", 1, nagle=True),
    Bar("ours", "Orthanc", 25, "ct", 1, nagle=True),
    Bar("ours", "Orthanc", 25, "mr", 1, nagle=True),
)
_LARGEST_RSS = 100
DISK_ALONE = "the disk alone, synced"
_DISK_ALONE_DOES = (
    "each file written and synced by one of as many processes; nobody sends, no folder is synced"
)


def line(one: Measurement) -> str:
    """What a run found, for those who wait."""
    speed = one.files / one.seconds if one.seconds else 0
    megabytes = one.size / _MEGABYTE / one.seconds if one.seconds else 0
    told = f" ({one.problem})" if one.problem else ""
    return (
        f"round {one.round}  {_title(one.case)}  {one.receiver}: {speed:.0f} images/s, {megabytes:.0f} MB/s, "
        f"CPU {one.cpu:.1f} s, {one.rss / _MEGABYTE:.0f} MB, {one.behind:.1f} s behind{told}"
    )


def text(found: Sequence[Measurement], everybody: Sequence[Receiver], machine: str, sizes: str) -> str:
    """The whole report."""
    parts = [f"# Reception\n\n{machine}; sets {sizes}. Medians [lowest-highest] of the rounds."]
    for case in dict.fromkeys(one.case for one in found):
        parts.append("\n".join(_case_table([one for one in found if one.case == case], case)))
    does = [f"- {one.name}: {one.missing or one.does}" for one in everybody]
    if any(one.receiver == DISK_ALONE for one in found):
        does.append(f"- {DISK_ALONE}: {_DISK_ALONE_DOES}")
    parts.append("\n".join(["## Who does what", "", *does]))
    problems = [f"- {_title(one.case)}, {one.receiver}: {one.problem}" for one in found if one.problem]
    if problems:
        parts.append("\n".join(["## Problems", "", *problems]))
    parts.append("\n".join(["## Bars", "", *_bars(found)]))
    return "\n\n".join(parts)


def _title(case: Case) -> str:
    several = "1 Association" if case.associations == 1 else f"{case.associations} Associations"
    return f"{_SET_NAMES[case.set]}, {several}, {'default sender (Nagle)' if case.nagle else 'sender without delay'}"


def _case_table(found: Sequence[Measurement], case: Case) -> list[str]:
    reference = "storescp" if case.nagle else "storescp tuned"
    lines = [
        f"## {_title(case)}", "",
        f"| receiver | images/s | MB/s | CPU s/GB | peak RSS, MB | s behind | CPU ms/image | by CPU | x {reference} |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    for name in dict.fromkeys(one.receiver for one in found):
        runs = {one.round: one for one in found if one.receiver == name and not one.problem}
        if not runs:
            lines.append(f"| {name} | failed | | | | | | | |")
            continue
        against = spread(ratios(_speed(found, name, case), _speed(found, reference, case)))
        by_cpu = spread(ratios(_speed_of_cpu(found, name, case), _speed_of_cpu(found, reference, case)))
        cells = [
            _cell({at: one.files / one.seconds for at, one in runs.items()}, 0 if case.set != "mf" else 2),
            _cell({at: one.size / _MEGABYTE / one.seconds for at, one in runs.items()}),
            _cell({at: one.cpu / one.size * 1e9 for at, one in runs.items()}, 1),
            f"{max(one.rss for one in runs.values()) / _MEGABYTE:.0f}",
            _cell({at: one.behind for at, one in runs.items()}, 1),
            _cpu_cell(list(runs.values())),
            "" if name == reference or by_cpu is None else by_cpu.text(2),
            "" if name == reference or against is None else against.text(2),
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _cell(values: dict[int, float], digits: int = 0) -> str:
    found = spread(values)
    return found.text(digits) if found else ""


def _speed(found: Iterable[Measurement], name: str, case: Case) -> dict[int, float]:
    chosen = (one for one in found if (one.receiver, one.case) == (name, case) and not one.problem)
    return {one.round: one.files / one.seconds for one in chosen}


def _speed_of_cpu(found: Iterable[Measurement], name: str, case: Case) -> dict[int, float]:
    """Images for each CPU second of receiver and senders together: what a busy machine leaves as it is."""
    chosen = [one for one in found if (one.receiver, one.case) == (name, case) and not one.problem]
    return {
        one.round: one.files / (one.receiving_cpu + one.sending_cpu) for one in chosen if one.receiving_cpu
    }


def _cpu_cell(runs: Sequence[Measurement]) -> str:
    if not all(one.receiving_cpu for one in runs):
        return ""
    receiver, sender = (
        median(getattr(one, side) / one.files * 1000 for one in runs)
        for side in ("receiving_cpu", "sending_cpu")
    )
    return f"{receiver:.2f} + {sender:.2f}"


def _bars(found: Sequence[Measurement]) -> list[str]:
    lines = []
    for bar in BARS:
        case = Case(bar.set, bar.associations, bar.nagle)
        reached = spread(ratios(_speed(found, bar.receiver, case), _speed(found, bar.than, case)))
        verdict = "OPEN" if reached is None else "PASS" if reached.median >= bar.factor else "FAIL"
        told = "not measured" if reached is None else reached.text(2)
        lines.append(
            f"- {verdict} {bar.receiver}, {_title(case)}: at least {bar.factor:g} x {bar.than}: {told}"
        )
    large = [one.rss / _MEGABYTE for one in found if one.ours and one.case.set == "mf" and not one.problem]
    if large:
        verdict = "PASS" if max(large) <= _LARGEST_RSS else "FAIL"
        lines.append(
            f"- {verdict} ours: at most {_LARGEST_RSS} MB peak RSS with the large object: {max(large):.0f}"
        )
    return lines
