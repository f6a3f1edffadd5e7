"""Tables and bars from measurements, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.generate import PART, PLANTED
from benchmarks.measure import ratios, spread
from benchmarks.peers import SHA_256

_MEGABYTE = 1e6
_PIECE = 1 << 20
_REFERENCES = ("dicognito", "gdcmanon", "cp")
_SET_NAMES = {
    "ct": "CT, 512 x 512, 16 bit, uncompressed",
    "mr": "MR, 128 x 128, private CSA headers",
    "mf": "one enhanced CT",
    "rle": "CT, RLE Lossless",
}


@dataclass(frozen=True)
class Measurement:
    """One tool on one set in one round; `count` is images, of set `mf` frames; `left` what it did not take away."""

    tool: str
    set: str
    round: int
    files: int
    count: int
    size: int
    cpu: float
    wall: float
    rss: int
    problem: str
    left: list[str]
    ours: bool


@dataclass(frozen=True)
class Outcome:
    """Everything that one call of the benchmark found."""

    sizes: str
    rounds: int
    machine: str
    versions: dict[str, str]
    does: dict[str, str]
    missing: dict[str, str]
    measurements: list[Measurement]
    without_copies: list[str] = field(default_factory=list)

    def start_up(self, tool: str) -> float:
        """CPU seconds that the tool needs for one small image."""
        found = spread(self.values(tool, "one", lambda one: one.cpu))
        return found.median if found else 0.0

    def further(self, tool: str, name: str) -> dict[int, float]:
        """CPU seconds of each round for each image (of `mf` frame) that the set has more than its part.

        Rounds in which the part took more than three quarters of the whole tell nothing.
        """
        whole, part = (self.values(tool, one, lambda one: one.cpu) for one in (name, name + PART))
        images, fewer = (self.values(tool, one, lambda one: one.count) for one in (name, name + PART))
        return {
            number: (whole[number] - part[number]) / (images[number] - fewer[number])
            for number in whole.keys() & part.keys()
            if part[number] < whole[number] * 0.75 and fewer[number] < images[number]
        }

    def values(self, tool: str, name: str, value: Callable[[Measurement], float]) -> dict[int, float]:
        """`value` of every round in which the tool did the whole set."""
        chosen = (one for one in self.measurements if (one.tool, one.set) == (tool, name) and not one.problem)
        return {one.round: value(one) for one in chosen}


@dataclass(frozen=True)
class Bar:
    """What is asked of ours, on every set: at least so many times another tool, or at most so much memory."""

    tool: str
    than: str
    factor: float

    @property
    def text(self) -> str:
        """As a sentence without a verb."""
        if not self.than:
            return f"{self.tool}: at most {self.factor:.0f} MB peak RSS"
        return f"{self.tool}: at least {self.factor:g} x {self.than} per core"


BARS = (
    Bar("ours engine", "dicognito", 10),
    Bar("ours engine", "gdcmanon", 1.5),
    Bar("ours verified", "dicognito", 4),
    Bar("ours engine", "", 100),
    Bar("ours verified", "", 100),
)


def per_second(one: Measurement) -> float:
    """Files per CPU second."""
    return one.files / one.cpu if one.cpu else 0.0


def planted_left(copy: Path) -> list[str]:
    """Under which heads the copy still has, byte for byte, what identifies the patient in the original."""
    overlap = max(map(len, PLANTED.values()))
    found: set[str] = set()
    rest = b""
    with copy.open("rb") as stream:
        while piece := stream.read(
            _PIECE
        ):  # in pieces: what this process holds would count as each tool's memory
            window = rest + piece
            found |= {head for head, value in PLANTED.items() if head not in found and value in window}
            rest = piece[-overlap:]
    return [head for head in PLANTED if head in found]


def line(one: Measurement) -> str:
    """A run in passing."""
    told = (
        one.problem.splitlines()[0]
        if one.problem
        else f"{per_second(one):.1f} files/CPU s, {one.rss >> 20} MiB"
    )
    return f"round {one.round} {one.set}: {one.tool}: {told}"


def text(outcome: Outcome) -> str:
    """The whole report."""
    sets = list(
        dict.fromkeys(one.set for one in outcome.measurements if one.count and not one.set.endswith(PART))
    )
    parts = [
        f"De-identification, sizes {outcome.sizes}, {outcome.rounds} rounds, median [lowest-highest]; {outcome.machine}"
    ]
    for name in sets:
        parts += ["", *_set_table(outcome, name)]
    parts += ["", *_start_up(outcome), "", *_unequal(outcome)]
    problems = dict.fromkeys((one.tool, one.set, one.problem) for one in outcome.measurements if one.problem)
    parts += [f"\n{tool} failed on {name}: {problem}" for tool, name, problem in problems]
    return "\n".join([*parts, "", *_bars(outcome, sets)])


def _set_table(outcome: Outcome, name: str) -> list[str]:
    first = next(one for one in outcome.measurements if one.set == name)
    frames = f" of {first.count} frames" if first.count != first.files else ""
    unit = "frame" if frames else "image"
    heading = f"### {_SET_NAMES[name]}: {first.files} file(s){frames}, {first.size / _MEGABYTE:.0f} MB"
    rows = []
    for tool in outcome.does:
        speed = spread(outcome.values(tool, name, per_second))
        if speed is None:
            told = outcome.missing.get(tool, "failed, see below")
            rows.append([tool, told, *[""] * (5 + len(_REFERENCES))])
            continue
        each = spread(outcome.values(tool, name, lambda one: 1000 * one.cpu / one.count))
        further = spread({number: 1000 * cpu for number, cpu in outcome.further(tool, name).items()})
        megabytes = spread(
            outcome.values(tool, name, lambda one: one.size / _MEGABYTE / one.cpu if one.cpu else 0)
        )
        memory = spread(outcome.values(tool, name, _memory))
        wall = spread(outcome.values(tool, name, lambda one: one.files / one.wall))
        assert each
        assert megabytes
        assert memory
        assert wall
        digits = 0 if speed.median >= 20 else 2
        cells = [
            speed.text(digits), each.text(2), further.text(2) if further else "?",
            megabytes.text(), f"{memory.high:.0f}", f"{wall.median:.{digits}f}",
        ]  # fmt: skip
        rows.append([tool, *cells, *(_ratio(outcome, tool, reference, name) for reference in _REFERENCES)])
    columns = [
        "tool",
        "files / CPU s",
        f"CPU ms / {unit}, with start-up",
        f"CPU ms / further {unit}",
        "MB / CPU s",
        "peak RSS, MB",
        "files / s by the clock",
    ]
    return [heading, "", *_table([*columns, *(f"x {reference}" for reference in _REFERENCES)], rows)]


def _memory(one: Measurement) -> float:
    return one.rss / _MEGABYTE


def _ratio(outcome: Outcome, tool: str, reference: str, name: str) -> str:
    found = spread(_speed_ratios(outcome, tool, reference, name))
    return "" if found is None or tool == reference else found.text(2 if found.median < 10 else 1)


def _start_up(outcome: Outcome) -> list[str]:
    rows = [[tool, f"{outcome.start_up(tool):.2f}"] for tool in outcome.does if outcome.start_up(tool)]
    return [
        "### Start-up: CPU seconds for one small image",
        "",
        "Contained in `files / CPU s` and in all ratios; not in what each further image costs.",
        "",
        *_table(["tool", "CPU s"], rows),
    ]


def _unequal(outcome: Outcome) -> list[str]:
    """What each did, and what it left of the planted values in the first copy of any set."""
    rows = []
    for tool, does in outcome.does.items():
        left = {head for one in outcome.measurements if one.tool == tool for head in one.left}
        told = ", ".join(head for head in PLANTED if head in left) or "nothing"
        if tool in outcome.without_copies:
            told = "(no copies)"
        version = outcome.versions.get(tool, "")
        rows.append([f"{tool} {version}".strip(), does, outcome.missing.get(tool, told)])
    return [f"### Unequal work: what each does, and what of {len(PLANTED)} planted identifiers it leaves", "",
            *_table(["tool", "does", "leaves"], rows, figures=False)]  # fmt: skip


def _bars(outcome: Outcome, sets: Sequence[str]) -> list[str]:
    lines = ["### Bars", ""]
    for bar in BARS:
        found = {name: _against(outcome, bar, name) for name in sets}
        told = [_reached(bar, name, value) for name, value in found.items() if value is not None]
        whole = verdict(bar, [value and value[0] for value in found.values()])
        lines.append(f"- {whole} {bar.text}: {', '.join(told) or 'not measured'}")
    limits = [(name, spread(_speed_ratios(outcome, SHA_256, "dicognito", name))) for name in sets]
    reached = ", ".join(f"{name} {one.median:.1f}" for name, one in limits if one)
    if reached:
        lines.append(f"- Lower bound: one SHA-256 of every byte, and nothing else, is x dicognito: {reached}")
    return [
        *lines,
        "",
        (
            "In brackets: by what each further image costs, without start-up; ? where a run is too short to tell. "
            "The verdict is on the first figure."
        ),
    ]


def _reached(bar: Bar, name: str, value: tuple[float, float | None]) -> str:
    whole, further = value
    if not bar.than:
        return f"{name} {whole:.0f}"
    return f"{name} {whole:.1f} ({'?' if further is None else f'{further:.1f}'})"


def _against(outcome: Outcome, bar: Bar, name: str) -> tuple[float, float | None] | None:
    """What was reached, with and without start-up."""
    if not bar.than:
        memory = spread(outcome.values(bar.tool, name, _memory))
        return (memory.high, None) if memory else None
    whole = spread(_speed_ratios(outcome, bar.tool, bar.than, name))
    further = spread(ratios(outcome.further(bar.than, name), outcome.further(bar.tool, name)))
    return (whole.median, further.median if further else None) if whole else None


def _speed_ratios(outcome: Outcome, tool: str, than: str, name: str) -> dict[int, float]:
    return ratios(outcome.values(tool, name, per_second), outcome.values(than, name, per_second))


def verdict(bar: Bar, found: Iterable[float | None]) -> str:
    """PASS where every set was measured and is on the right side; OPEN where one was not."""
    values = list(found)
    known = [value for value in values if value is not None]
    if not all(value >= bar.factor if bar.than else value <= bar.factor for value in known):
        return "FAIL"
    return "PASS" if known and len(known) == len(values) else "OPEN"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, figures: bool = True) -> list[str]:
    lines = [head, ["---", *["---:" if figures else "---"] * (len(head) - 1)], *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]
