"""A backfill through the whole gateway: time and CPU a study, split by stage, and the orchestration's own share.

    python benchmarks/backfill.py [--studies 500] [--folder DIR] [--json FILE] [--no-again]

Synthetic studies of one to four small instances are sent over real Associations, a study each, to the gateway as
`fiona up` runs it (receiver, code server, daemon, webserver), with an embedded REDCap, research PACS and SFTP server
beside it. Its own sensors take them through all stages. Then all of them are materialised once more by a backfill
that is launched as Dagster's pages do it. After either, everything is counted: each study delivered, none twice.

CPU seconds are of whole process trees, so they hold while the machine does other work; times by the clock do not.
Exit status 1: something was lost, delivered twice or failed. Slow figures never change it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.backfill_account import (
    Runs,
    StageCost,
    delivered,
    packages_as_they_are,
    problems,
    runs,
    stage_costs,
)
from benchmarks.backfill_hospital import HOSPITAL, Backfilled, gateway_in_a_hospital
from benchmarks.backfill_pages import backfill_status, launch_backfill
from benchmarks.backfill_studies import Study, write_studies
from fiona_dagster.adapters.dicom_scu import send
from fiona_dagster.domain.errors import FionaError

POLL_SECONDS = 0.5
REST_SECONDS = 10.0


@dataclass(frozen=True)
class Measured:
    """One way through the gateway. CPU in seconds by service; of the code server without and with its runs."""

    way: str
    studies: int
    seconds: float
    first_seconds: float
    cpu: dict[str, float]
    run_cpu: float
    stages: dict[str, StageCost]
    runs: dict[str, Runs]

    @property
    def work(self) -> float:
        """CPU seconds of the stages themselves."""
        return sum(one.all_cpu_seconds for one in self.stages.values())

    @property
    def orchestration(self) -> float:
        """CPU seconds of everything of Dagster's: daemon, code server, pages, and runs beside their stages."""
        services = sum(self.cpu[name] for name in ("daemon", "code-server", "webserver"))
        return services + self.run_cpu - self.work

    def text(self) -> str:
        """The report."""
        many = self.studies
        rate = f"{60 * many / self.seconds:.1f} a minute; the first after {self.first_seconds:.1f} s"
        lines = [
            f"{self.way}: {many} studies in {self.seconds:.0f} s, {rate}",
            f"  {'stage':<18} {'times':>6} {'s':>8} {'CPU s':>8}   medians; CPU s a study on average",
        ]
        for name, cost in self.stages.items():
            lines.append(
                f"  {name:<18} {cost.times:>6} {cost.seconds:>8.3f} {cost.cpu_seconds:>8.3f} "
                f"{cost.all_cpu_seconds / many:>8.3f}"
            )
        for job, one in self.runs.items():
            lines.append(
                f"  runs of {job:<14} {one.count:>4}, {one.failed} failed; medians: waited {one.waited:.1f} s, "
                f"lasted {one.lasted:.2f} s"
            )
        lines.append("  CPU s a study")
        named = {
            "receiver": sum(value for name, value in self.cpu.items() if name.startswith("receiver")),
            "stages": self.work,
            "runs beside stages": self.run_cpu - self.work,
            "daemon": self.cpu["daemon"],
            "code server": self.cpu["code-server"],
            "webserver": self.cpu["webserver"],
        }
        lines += [f"    {name:<18} {value / many:>8.3f}" for name, value in named.items()]
        whole, own = sum(named.values()), self.orchestration
        shares = f"{100 * own / whole:.0f} % of the gateway's, {own / self.work:.2f} x the work"
        lines += [
            f"    {'gateway':<18} {whole / many:>8.3f}",
            f"    (REDCap, research PACS and SFTP server beside it: {sum(self.cpu[n] for n in HOSPITAL) / many:.3f})",
            f"  orchestration: {own / many:.3f} CPU s a study, {shares}",
        ]
        return "\n".join(lines)


def measured(way: str, there: Backfilled, many: int, work: Callable[[], float]) -> Measured:
    """Do `work`, which returns after how many seconds the first study was through, and account for it."""
    home = there.settings.layout.dagster_home
    services, before, since, began = there.services, there.cpu(), time.time(), time.monotonic()
    first = work()
    seconds = time.monotonic() - began
    time.sleep(2 * POLL_SECONDS)  # the last run still says that it ended
    after = there.cpu()
    if there.services != services:
        raise SystemExit(f"a service was started again: see {there.settings.layout.logs}")
    used = {name: after[name] - before[name] for name in after}
    cpu = {name: one.own if name == "code-server" else one.total for name, one in used.items()}
    return Measured(
        way,
        many,
        seconds,
        first,
        cpu,
        used["code-server"].children,
        stage_costs(home, since),
        runs(home, since),
    )


def at_rest(there: Backfilled) -> dict[str, float]:
    """CPU seconds a second of each service while nothing arrives, once what they load at their start is loaded."""
    before, deadline = there.cpu(), time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(2)  # what is awaited is that nothing happens any more
        now = there.cpu()
        if now["code-server"].children - before["code-server"].children < 0.1:
            break
        before = now
    before, began = there.cpu(), time.monotonic()
    time.sleep(REST_SECONDS)
    after, seconds = there.cpu(), time.monotonic() - began
    return {name: (after[name] - before[name]).total / seconds for name in after}


def arriving(there: Backfilled, studies: Sequence[Study]) -> float:
    """Send all studies, and wait until all are delivered."""
    failed: list[str] = []

    def scanner() -> None:
        try:
            for one in studies:
                report = send(one.files, there.receiver, "SCANNER")
                failed.extend(outcome.problem for outcome in report.outcomes if not outcome.stored)
        except FionaError as error:
            failed.append(str(error))

    sender = threading.Thread(target=scanner, daemon=True)
    sender.start()
    first = _until(there, lambda: delivered(there), len(studies), failed)
    sender.join()
    return first


def again(there: Backfilled, count: int) -> float:
    """All assets of all partitions, as the pages launch it."""
    backfill = launch_backfill(there.pages, [one.key for one in there.ledger.studies.all()])
    _until(there, lambda: int(backfill_status(there.pages, backfill) == "COMPLETED_SUCCESS"), 1, [])
    return 0.0


def _until(there: Backfilled, done: Callable[[], int], wanted: int, failed: list[str]) -> float:
    """Wait until `done()` is `wanted`; returns after how many seconds it was one."""
    began, first, last, changed = time.monotonic(), 0.0, 0, time.monotonic()
    while (now := done()) < wanted:
        if now != last:
            first, last, changed = first or time.monotonic() - began, now, time.monotonic()
        if failed or time.monotonic() - changed > 3600:
            raise SystemExit(f"{now} of {wanted} are through; {failed[:3]}")
        there.supervisor.restart_the_dead()
        time.sleep(POLL_SECONDS)
    return first or time.monotonic() - began


def main() -> int:
    """Measure and print; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--studies", type=int, default=500)
    parser.add_argument("--folder", type=Path, help="for everything; stays there")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--no-again", action="store_true", help="without the backfill of the pages")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what runs is stopped, not left behind
    os.environ.pop(
        "PYTHONDONTWRITEBYTECODE", None
    )  # as installed: compiled modules are there from the first run
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        found, wrong = backfill(folder, options.studies, again_too=not options.no_again)
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in found], indent=2))
    for text in wrong:
        sys.stdout.write(f"not as it should be: {text}\n")
    return 1 if wrong else 0


def backfill(folder: Path, count: int, *, again_too: bool) -> tuple[list[Measured], list[str]]:
    """Both ways, and what was not as it should be."""
    studies = write_studies(folder / "scanner", count)
    sys.stdout.write(f"{count} studies of {sum(len(one.files) for one in studies)} instances are written\n")
    with gateway_in_a_hospital(folder, studies) as there:
        resting = at_rest(there)
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in resting.items() if share >= 0.005)
        sys.stdout.write(f"at rest, of a core: {shares or 'nothing'}\n")
        found = [measured("arriving", there, count, lambda: arriving(there, studies))]
        sys.stdout.write(found[-1].text() + "\n")
        wrong = problems(there, studies)
        if again_too:
            before = packages_as_they_are(there)
            found.append(measured("launched from the pages", there, count, lambda: again(there, count)))
            sys.stdout.write(found[-1].text() + "\n")
            wrong += problems(there, studies)
            if packages_as_they_are(there) != before:
                wrong.append("the second time changed what was delivered")
        wrong += [
            f"{one.failed} runs of {job} failed"
            for way in found
            for job, one in way.runs.items()
            if one.failed
        ]
    return found, wrong


if __name__ == "__main__":
    raise SystemExit(main())
