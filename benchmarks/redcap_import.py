"""An import into the embedded REDCap, over HTTP and with its syncs to the disk: 4,500 rows in how many seconds?

    python benchmarks/redcap_import.py [--rows 4500] [--rounds 5]

The rows are WhatIsInIDS7's, with all their 15 columns, new in round after round, from JSON and from CSV. The server is
a process of its own, as `fiona redcap serve` starts it. Beside it, in the same rounds, SQLite's own insert of the same
values into a table of these columns, in one synced transaction: what storing alone would take. Exit status 1: rows
are missing or the median of JSON is not below a second.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import requests

BAR_SECONDS = 1.0
TITLE = "WhatIsInIDS7"
Row = dict[str, str]


@contextmanager
def running_server(folder: Path) -> Iterator[tuple[str, str]]:
    """The embedded REDCap in a process of its own; its API's address, and a super token."""
    token = folder / "super-token"
    command = [sys.executable, "-m", "fiona_dagster.embedded.redcap", "--data", str(folder / "redcap.sqlite"),
               "--super-token-file", str(token)]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip(), token.read_text().strip()
        finally:
            server.terminate()


def call(url: str, **parameters: str) -> str:
    """One call of the API; ends the program when it is refused."""
    answer = requests.post(url, data={"format": "json", **parameters}, timeout=600)
    if not answer.ok:
        raise SystemExit(f"the server refused: {answer.text[:500]}")
    return answer.text


def new_project(url: str, super_token: str) -> str:
    """A project with the dictionary of WhatIsInIDS7; its token."""
    made = json.dumps([{"project_title": TITLE, "purpose": 0}])
    token = call(url, token=super_token, content="project", data=made)
    dictionary = files("fiona_dagster.domain.dictionaries") / f"{TITLE}.csv"
    call(url, token=token, content="metadata", format="csv", data=dictionary.read_text(encoding="utf-8"))
    return token


def some_rows(count: int, seed: int) -> list[Row]:
    """Studies as a reconciliation finds them; none has the UID of another round's."""
    return [
        {
            "record_id": f"1.2.826.0.1.3680043.10.{seed}.{number:028d}",
            "ids7_patient_name": f"PROJ_{number:05d}",
            "ids7_patient_id": f"PROJ_{number:05d}",
            "ids7_study_description": "MR Caput med kontrast, æøå",
            "ids7_number_of_series": str(number % 17),
            "ids7_number_of_instances": str(number % 3000),
            "ids7_institution_name": "PROJ",
            "ids7_referring_physician": "EventName:baseline",
            "ids7_study_time": f"{number % 24:02d}:{number % 60:02d}:{number % 60:02d}",
            "ids7_study_date": f"20{number % 26:02d}-{number % 12 + 1:02d}-{number % 28 + 1:02d}",
            "ids7_study_id": f"S{number}",
            "ids7_accession_number": f"{seed:03d}{number:013d}",
            "ids7_modalities": "MR",
            "ids7_date_stamp": f"2026-11-{number % 28 + 1:02d} 10:11:12",
            "ids7_complete": "2",
        }
        for number in range(count)
    ]


def as_csv(rows: Sequence[Row]) -> str:
    """The rows as `format=csv` takes them."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def by_import(url: str, token: str, form: str, rows: Sequence[Row]) -> float:
    """Seconds from the first byte of the call, which is encoded before, to its answer."""
    data = json.dumps(rows) if form == "json" else as_csv(rows)
    fields = {"token": token, "content": "record", "action": "import", "format": form, "returnFormat": "json"}
    request = requests.Request("POST", url, data={**fields, "data": data}).prepare()
    with requests.Session() as session:
        begin = time.perf_counter()
        answer = session.send(request, timeout=600)
        seconds = time.perf_counter() - begin
    if not answer.ok or answer.json() != {"count": len(rows)}:
        raise SystemExit(f"instead of {len(rows)} records: {answer.text[:500]}")
    return seconds


def by_sqlite(path: Path, rows: Sequence[Row]) -> float:
    """Seconds of the insert alone."""
    names = list(rows[0])
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS plain ({', '.join(names)}, PRIMARY KEY (record_id)) WITHOUT ROWID"
    )
    begin = time.perf_counter()
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(
        f"INSERT INTO plain VALUES ({', '.join('?' * len(names))})",  # noqa: S608 — placeholders only
        (tuple(row.values()) for row in rows),
    )
    connection.execute("COMMIT")
    seconds = time.perf_counter() - begin
    connection.close()
    return seconds


def main() -> int:
    """Measure and print; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=4500)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    taken: dict[str, list[float]] = {"json": [], "csv": [], "sqlite": []}
    with tempfile.TemporaryDirectory() as temporary, running_server(Path(temporary)) as (url, super_token):
        token = new_project(url, super_token)
        for seed in range(options.rounds):
            taken["json"].append(by_import(url, token, "json", some_rows(options.rows, 2 * seed)))
            taken["csv"].append(by_import(url, token, "csv", some_rows(options.rows, 2 * seed + 1)))
            taken["sqlite"].append(by_sqlite(Path(temporary) / "plain.sqlite", some_rows(options.rows, seed)))
        kept = len(json.loads(call(url, token=token, content="record", action="export", fields="record_id")))
    for name, seconds in taken.items():
        times = statistics.median(ours / alone for ours, alone in zip(seconds, taken["sqlite"], strict=True))
        sys.stdout.write(
            f"{name:<7} {statistics.median(seconds):6.2f} s [{min(seconds):.2f}-{max(seconds):.2f}]"
            f"  {times:5.1f} x SQLite's insert\n"
        )
    if kept != 2 * options.rounds * options.rows:
        sys.stdout.write(f"{kept} records are there, {2 * options.rounds * options.rows} were imported\n")
        return 1
    met = statistics.median(taken["json"]) < BAR_SECONDS
    sys.stdout.write(f"{options.rows} rows of 15 columns in under a second: {'met' if met else 'not met'}\n")
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
