"""Reception under load and misfortune: fifty senders with all manners, and nothing acknowledged may be lost.

`python benchmarks/soak.py [--minutes N] [--seed S] [--senders N] [--workers N] [--json FILE]`; see README.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.soak_account import Account, verdict
from benchmarks.soak_images import Census
from benchmarks.soak_listener import Faults, Listener, small_disk
from benchmarks.soak_senders import Sender, wait_for_end

_WEB_SHARE = 10
"""One sender of so many speaks STOW-RS."""
_END_SECONDS = 120.0
_SHOWN = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print a report; 1 when the law of conservation was broken, or the listener did not end well."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what runs is stopped, not left behind
    folder = Path(tempfile.mkdtemp(prefix="fiona-soak-", dir=options.folder)).resolve()
    try:
        with small_disk(folder, int(options.megabytes * 1.5) + 400) as (data, missing):
            report = _soak(folder, data, missing, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = json.dumps(report, indent=1, sort_keys=True)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    return 1 if report["violations"] else 0


def _soak(folder: Path, data: Path, missing: str, options: argparse.Namespace) -> dict[str, Any]:
    if missing:
        print(f"skipped: {missing}", file=sys.stderr)
    listener = Listener(folder, data, options.workers)
    account, census = Account(), Census(options.seed, options.megabytes)
    stopping, quiet, turn = threading.Event(), threading.Event(), threading.Lock()
    senders = [
        Sender(
            number, listener.target, census, turn, account, options.seed, stopping,
            web=number % _WEB_SHARE == _WEB_SHARE - 1,
        )
        for number in range(options.senders)
    ]  # fmt: skip
    faults = Faults(listener, account, options.seed, options.fault_seconds, quiet, small_disk=not missing)
    began = time.monotonic()
    try:
        listener.start()
        for one in (*senders, faults):
            one.start()
        quiet.wait(options.minutes * 60)
        quiet.set()
        faults.join(_END_SECONDS)
        stopping.set()
        problems = [one for one in (*wait_for_end(senders, _END_SECONDS), faults.problem) if one]
        seconds = time.monotonic() - began
        behind = listener.stop()
        if behind:  # it says so where it could not record everything in time
            account.did(f"stop ended with {behind}")
        if faults.crashed or behind:  # a start brings up to date what was left
            listener.start()
            if listener.stop():
                problems.append("the listener did not end well after its recovery")
        found = verdict(account, listener.layout, crashed=faults.crashed or bool(behind))
        return {
            "seed": options.seed,
            "seconds": round(seconds, 1),
            "senders": options.senders,
            "workers": options.workers,
            "skipped": [missing] if missing else [],
            "studies_sent": census.study_count,
            "megabytes_sent": round(account.sent_bytes / 1e6),
            "answers": dict(account.answers),
            "doings": dict(account.doings),
            "faults": account.faults if found.violations else len(account.faults),
            "log": _log_lines(listener.log()),
            **found.counts,
            "violation_count": len(problems) + len(found.violations),
            "violations": [*problems, *found.violations[:_SHOWN]],
        }
    finally:
        quiet.set()
        stopping.set()
        listener.kill_all()
        if options.keep_log:
            options.keep_log.write_text(listener.log(), encoding="utf-8")


def _log_lines(log: str) -> dict[str, int]:
    """How often the listener wrote what, numbers taken out."""
    found: dict[str, int] = {}
    for line in log.splitlines():
        _, _, text = line.partition("[scp_listener] ")
        kind = "".join("#" if one.isdigit() else one for one in text[:100])
        found[kind] = found.get(kind, 0) + 1
    return dict(sorted(found.items(), key=lambda one: -one[1])[:_SHOWN])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1, help="of everything but the timing of threads")
    parser.add_argument("--senders", type=int, default=50)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--megabytes", type=float, default=1500.0, help="of distinct instances, about")
    parser.add_argument("--fault-seconds", type=float, default=5.0, help="between two faults, about")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--keep-log", type=Path, help="copy the listener's log here")
    parser.add_argument("--json", type=Path, help="write the report here as well")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
