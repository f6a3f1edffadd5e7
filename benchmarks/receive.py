"""Reception, ours and others' side by side: dcmsend sends generated sets to each in turn. See README.md beside this.

`python benchmarks/receive.py [--sizes small|full] [--rounds N] [--only NAMES] [--sets ct,mr,mf] [--json FILE]`
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import archive_curve, disk_limit
from benchmarks import receive_report as report
from benchmarks.generate import SIZES
from benchmarks.receive_report import Case, Measurement
from benchmarks.receivers import HOST, Receiver, receivers, receiving

_HERE = Path(__file__).resolve().parent
_SETS = ("ct", "mr", "mf")
_FEW = {"ct": 60, "mr": 120, "mf": 1}
"""With Nagle's algorithm on, a receiver at its defaults takes 20 images a second: so many are enough of those."""

_LOG = """log4cplus.rootLogger = INFO, file
log4cplus.appender.file = log4cplus::FileAppender
log4cplus.appender.file.File = {place}
log4cplus.appender.file.layout = log4cplus::PatternLayout
log4cplus.appender.file.layout.ConversionPattern = %D{{%s.%q}} %m%n
"""
_TIME = re.compile(r"^(\d+\.\d+) (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class _Sent:
    """What the senders together did, from the first request to the last response."""

    seconds: float
    successes: int
    problem: str = ""
    cpu: float = 0.0
    """CPU seconds of the senders."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate, measure round by round, print the tables. 1 when one of ours lost or refused an instance."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what runs is stopped, not left behind
    folder = options.folder or Path(tempfile.mkdtemp(prefix="fiona-benchmark-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _keep_apart(folder)
        if options.archive_curve:
            points = _curve(folder.resolve(), options)
            print(archive_curve.table(points))
            return 1 if any(one.problem for one in points) else 0
        measurements = _measured(folder.resolve(), options)
    finally:
        for place in folder.glob("run-*"):
            shutil.rmtree(place, ignore_errors=True)
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    machine = f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(report.text(measurements, receivers(options.only, options.workers), machine, options.sizes))
    if options.json:
        options.json.write_text(
            json.dumps([asdict(one) for one in measurements], indent=1) + "\n", encoding="utf-8"
        )
    return 1 if any(one.ours and one.problem for one in measurements) else 0


def _keep_apart(folder: Path) -> None:
    """Have ext4 give the folder of each run inodes of its own region, as it does for those of the root: where others
    have removed files within the last minutes, each new file costs a search past all of them."""
    if shutil.which("chattr"):
        subprocess.run(["chattr", "+T", str(folder)], capture_output=True, check=False)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="keeps the generated sets; default: a temporary folder")
    parser.add_argument("--rounds", type=int, default=3, help="the receivers in turn in each (default 3)")
    parser.add_argument("--sizes", choices=sorted(SIZES), default="small", help="figures to quote need full")
    parser.add_argument("--only", type=_names, default=frozenset(), help="names of receivers, by comma and ;")
    parser.add_argument("--sets", type=_names, default=frozenset(_SETS), help="of ct;mr;mf")
    parser.add_argument(
        "--associations", type=_names, default=frozenset(("1", "4")), help="1;4 at the same time"
    )
    parser.add_argument("--nagle", choices=("off", "on", "both"), default="both", help="of the sender")
    parser.add_argument(
        "--workers", type=int, default=2, help="processes of our listener (default 2, as WORKERS)"
    )
    parser.add_argument(
        "--archive-curve",
        action="store_true",
        help="instead: ours with more and more instances there already",
    )
    parser.add_argument(
        "--archive-sizes",
        type=_numbers,
        default=(0, 10_000, 100_000, 1_000_000),
        help="0;10000;100000;1000000",
    )
    parser.add_argument(
        "--archive-files", type=int, default=100_000, help="files in it, of that many instances"
    )
    parser.add_argument("--json", type=Path, help="write every run here as well")
    return parser.parse_args(arguments)


def _names(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split(";") if part.strip())


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(sorted(int(part) for part in text.split(";")))


def _curve(folder: Path, options: argparse.Namespace) -> list[archive_curve.Point]:
    """Other images of the MR set in each round, so that none is there already; the sizes in turn."""
    sources = _generated(folder, ["mr"], options.sizes)
    case = Case("mr", 4, nagle=False)
    receiver = next(one for one in receivers(frozenset(("ours",)), options.workers))
    everything = _parts(sources, case, folder, few=False)
    archives = {
        size: archive_curve.made(folder, size, options.archive_files) for size in options.archive_sizes
    }
    points = []
    for number in range(options.rounds):
        place = Path(tempfile.mkdtemp(prefix="run-", dir=folder))
        parts = [_share(part, place / part.name, number, options.rounds) for part in everything]
        files = sum(len(list(part.iterdir())) for part in parts)
        for size, target in archives.items():
            before = receiver.stored(target)
            os.sync()
            with receiving(receiver, target) as running:
                sent = _send(parts, running.port, place, nagle=False)
            stored = receiver.stored(target) - before
            problem = sent.problem
            if not problem and not sent.successes == stored == files:
                problem = f"{files} files, {sent.successes} acknowledged, {stored} stored"
            points.append(archive_curve.Point(size, number, files, sent.seconds, running.behind, problem))
            print(points[-1], file=sys.stderr, flush=True)
    for target in archives.values():
        shutil.rmtree(target)
    return points


def _share(part: Path, target: Path, number: int, of: int) -> Path:
    target.mkdir()
    for path in sorted(part.iterdir())[number::of]:
        os.link(path, target / path.name)
    return target


def _measured(folder: Path, options: argparse.Namespace) -> list[Measurement]:
    everybody = [one for one in receivers(options.only, options.workers) if not one.missing]
    sets = [name for name in _SETS if name in options.sets]
    sources = _generated(folder, sets, options.sizes)
    found: list[Measurement] = []
    for number in range(1, options.rounds + 1):
        for case in _cases(sets, sorted(map(int, options.associations)), options.nagle):
            for receiver in everybody:
                if case.nagle and "tuned" in receiver.name:
                    continue
                parts = _parts(sources, case, folder, few=case.nagle and not receiver.ours)
                found.append(_one(receiver, case, parts, folder, number))
                print(report.line(found[-1]), file=sys.stderr, flush=True)
            if not case.nagle:
                found.append(_disk_alone(case, _parts(sources, case, folder, few=False), folder, number))
                print(report.line(found[-1]), file=sys.stderr, flush=True)
    return found


def _disk_alone(case: Case, parts: Sequence[Path], folder: Path, number: int) -> Measurement:
    place = Path(tempfile.mkdtemp(prefix="run-", dir=folder))
    os.sync()
    _have_memory(sum(path.stat().st_size for part in parts for path in part.iterdir()))
    try:
        return disk_limit.measured(case, parts, place, number)
    finally:
        _empty(place)


def _cases(sets: Sequence[str], associations: Sequence[int], nagle: str) -> Iterable[Case]:
    for name in sets:
        for count in associations if name != "mf" else [1]:
            for on in (False, True):
                if nagle == "both" or (nagle == "on") == on:
                    yield Case(name, count, on)


def _generated(folder: Path, sets: Sequence[str], sizes: str) -> Path:
    """In a process of its own: what that needs in memory would count as every receiver's."""
    target = folder / f"sets-{sizes}"
    target.mkdir(exist_ok=True)
    for name in sets:
        print(f"generating {name}", file=sys.stderr)
        subprocess.run([sys.executable, str(_HERE / "generate.py"), str(target), name, sizes], check=True)
    return target


def _parts(sources: Path, case: Case, folder: Path, *, few: bool) -> list[Path]:
    """A folder of hard links for each Association."""
    files = sorted((sources / case.set).iterdir())[: _FEW[case.set] if few else None]
    target = folder / f"parts-{case.set}-{case.associations}-{len(files)}"
    parts = [target / str(number) for number in range(case.associations)]
    if not target.exists():
        for number, part in enumerate(parts):
            part.mkdir(parents=True)
            for path in files[number :: case.associations]:
                os.link(path, part / path.name)
    return parts


def _one(receiver: Receiver, case: Case, parts: Sequence[Path], folder: Path, number: int) -> Measurement:
    """One run: a receiver with an empty folder, which is looked at and removed again."""
    files = [path for part in parts for path in part.iterdir()]
    size = sum(path.stat().st_size for path in files)
    place = Path(tempfile.mkdtemp(prefix="run-", dir=folder))
    target = place / "received"
    target.mkdir()
    os.sync()  # what the run before left to the system must not weigh on this one
    try:
        with receiving(receiver, target) as running:
            _have_memory(size)
            before = running.cpu_until_now()
            sent = _send(parts, running.port, place, nagle=case.nagle)
            receiving_cpu = running.cpu_until_now() - before
        stored = receiver.stored(target)
    finally:
        _empty(place)
    problem = sent.problem
    if not problem and not sent.successes == stored == len(files):
        problem = f"{len(files)} files, {sent.successes} acknowledged, {stored} stored"
    return Measurement(
        receiver.name, case, number, len(files), size, sent.seconds, running.cpu, running.rss, running.behind,
        problem, receiver.ours, receiving_cpu, sent.cpu,
    )  # fmt: skip


def _have_memory(size: int) -> None:
    """Have as much memory touched and given back as a run is about to fill: a virtual machine's host takes away what
    lies idle, and whoever uses it first waits for it, at a tenth of the usual pace. In a process of its own, see
    `_generated`."""
    touch = f"bytearray(b'1') * {size + size // 4}"
    subprocess.run([sys.executable, "-c", touch], check=True)


def _empty(place: Path) -> None:
    """Give the space of a run back and keep its names until the end: ext4 looks for each new file past all that were
    removed within the last minutes, which would weigh on the runs that follow."""
    for folder, _, names in os.walk(place):
        for name in names:
            path = Path(folder, name)
            if not path.is_symlink():
                os.truncate(path, 0)


def _send(parts: Sequence[Path], port: int, folder: Path, *, nagle: bool) -> _Sent:
    """One dcmsend for each part, all at the same time."""
    environment = {key: value for key, value in os.environ.items() if key != "TCP_NODELAY"}
    if not nagle:
        environment["TCP_NODELAY"] = "1"
    senders, logs = [], []
    others = resource.getrusage(resource.RUSAGE_CHILDREN)
    for number, part in enumerate(parts):
        logs.append(folder / f"send-{number}.log")
        configuration = folder / f"send-{number}.cfg"
        configuration.write_text(_LOG.format(place=logs[-1]), encoding="utf-8")
        command = ["dcmsend", "-lc", str(configuration), "-nuc", "-nh", "+sd", HOST, str(port), str(part)]
        senders.append(subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL))
    deadline = time.monotonic() + 1200
    statuses = [sender.wait(max(1.0, deadline - time.monotonic())) for sender in senders]
    ours = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = ours.ru_utime + ours.ru_stime - others.ru_utime - others.ru_stime
    begins, ends, successes = [], [], 0
    for log in logs:
        lines = _TIME.findall(log.read_text(encoding="utf-8", errors="replace"))
        begins += [float(at) for at, text in lines if text.startswith("sending SOP instances")][:1]
        answers = [float(at) for at, text in lines if text.startswith("Received C-STORE Response (Success")]
        ends += answers[-1:]
        successes += len(answers)
    problem = "" if not any(statuses) else f"dcmsend ended with {statuses}"
    if not begins or not ends:
        return _Sent(0.0, successes, problem or "nothing was sent", cpu)
    return _Sent(max(ends) - min(begins), successes, problem, cpu)


if __name__ == "__main__":
    sys.exit(main())
