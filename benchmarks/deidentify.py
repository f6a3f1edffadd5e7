"""De-identification, ours and others' side by side on generated sets: see README.md beside this file.

`python benchmarks/deidentify.py [--sizes small|full] [--rounds N] [--only TOOLS] [--sets SETS] [--json FILE]`
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import report
from benchmarks.generate import PART, SIZES, size_of
from benchmarks.measure import run
from benchmarks.peers import Tool, tools
from benchmarks.report import Measurement, Outcome

_HERE = Path(__file__).resolve().parent
_SETS = ("ct", "mr", "mf", "rle")


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate, measure round by round, print the tables. 1 when a tool of ours failed, whatever the figures."""
    options = _options(arguments)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="fiona-benchmark-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        outcome = _measured(folder.resolve(), options)
    finally:
        for place in folder.glob("run-*"):
            shutil.rmtree(place, ignore_errors=True)
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(report.text(outcome))
    if options.json:
        options.json.write_text(json.dumps(asdict(outcome), indent=1) + "\n", encoding="utf-8")
    return 1 if any(one.ours and one.problem for one in outcome.measurements) else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="keeps the generated sets; default: a temporary folder")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, the tools in turn in each (default 3)")
    parser.add_argument("--sizes", choices=sorted(SIZES), default="small", help="figures to quote need full")
    parser.add_argument(
        "--only", type=_names, default=frozenset(), help="ours,dicognito,gdcmanon,... or 'ours engine'"
    )
    parser.add_argument("--sets", type=_names, default=frozenset(_SETS), help="of ct,mr,mf,rle")
    parser.add_argument(
        "--limit", type=float, default=400, help="seconds after which a tool is given up on a set"
    )
    parser.add_argument("--json", type=Path, help="write every run here as well")
    options = parser.parse_args(arguments)
    unknown = options.sets - set(_SETS)
    if unknown:
        parser.error(f"no such set: {', '.join(sorted(unknown))} (choose from {', '.join(_SETS)})")
    return options


def _names(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def _measured(folder: Path, options: argparse.Namespace) -> Outcome:
    chosen = tools(folder, options.only)
    sets = [name for name in _SETS if name in options.sets]
    sources = _generated(folder, ["one", *sets, *(name + PART for name in sets)], options.sizes)
    measurements: list[Measurement] = []
    present = [tool for tool in chosen if not tool.missing]
    for tool in present:  # warms caches and compiled modules up
        _one(tool, sources / "one", folder, 0, 0, options.limit)
    for number in range(1, options.rounds + 1):
        given_up = {(one.tool, one.set) for one in measurements if one.problem}
        measurements += [_one(tool, sources / "one", folder, 0, number, options.limit) for tool in present]
        for name in (one for whole in sets for one in (whole, whole + PART)):
            for tool in present:
                if (tool.name, name.removesuffix(PART)) not in given_up:
                    count = size_of(name, options.sizes)
                    measurements.append(_one(tool, sources / name, folder, count, number, options.limit))
                    print(report.line(measurements[-1]), file=sys.stderr, flush=True)
    return Outcome(
        sizes=options.sizes,
        rounds=options.rounds,
        machine=f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        versions={tool.name: tool.version for tool in chosen},
        does={tool.name: tool.does for tool in chosen},
        missing={tool.name: tool.missing for tool in chosen if tool.missing},
        measurements=measurements,
        without_copies=[tool.name for tool in chosen if not tool.writes],
    )


def _generated(folder: Path, sets: Sequence[str], sizes: str) -> Path:
    """In a process of its own: what that needs in memory would count as every tool's."""
    target = folder / f"sets-{sizes}"
    target.mkdir(exist_ok=True)
    for name in sets:
        print(f"generating {name}", file=sys.stderr)
        subprocess.run([sys.executable, str(_HERE / "generate.py"), str(target), name, sizes], check=True)
    return target


def _one(tool: Tool, source: Path, folder: Path, count: int, number: int, limit: float) -> Measurement:
    """One run of a tool on a set, into an empty folder that is looked at and emptied again.

    The copies' names stay to the end: ext4 looks past every file that was removed within the last minutes when it makes
    a new one, and the next tool would pay for that.
    """
    place = Path(tempfile.mkdtemp(prefix="run-", dir=folder))
    target = place / "copies"
    target.mkdir()
    files = [path for path in source.iterdir() if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    try:
        done = run(tool.command(source, target), place, limit=limit, home=folder)
        copies = sorted(path for path in target.rglob("*") if path.is_file())
        problem = ""
        if done.status:
            problem = f"exit status {done.status}: {done.output[-300:]}"
        elif tool.writes and len(copies) != len(files):
            problem = f"{len(copies)} copies of {len(files)} files"
        left = report.planted_left(copies[0]) if copies else []
    finally:
        for path in place.rglob("*"):
            if path.is_file():
                os.truncate(path, 0)
    return Measurement(
        tool.name,
        source.name,
        number,
        len(files),
        count,
        size,
        done.cpu,
        done.wall,
        done.rss,
        problem,
        left,
        tool.ours,
    )


if __name__ == "__main__":
    sys.exit(main())
