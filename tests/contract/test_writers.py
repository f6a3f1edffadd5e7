"""Several processes write at once: nothing is lost, and no two get the same instance (redcap-contract 1.5)."""

from __future__ import annotations

import subprocess
import sys

from tests.contract.api import Api

PROCESSES, CALLS, ROWS = 4, 6, 3
WRITER = """
import json, sys, urllib.parse, urllib.request
url, token, writer, calls, rows = sys.argv[1:]
for call in range(int(calls)):
    place = {"record_id": "1", "redcap_repeat_instrument": "scans", "redcap_repeat_instance": "new"}
    data = [{**place, "scan_uid": f"{writer}.{call}.{row}"} for row in range(int(rows))]
    data.append({"record_id": f"{writer}-{call}", "name": "own"})
    form = {"token": token, "content": "record", "format": "json", "data": json.dumps(data)}
    with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode(), timeout=60) as answer:
        assert json.load(answer) == {"count": 2}
"""


def test_several_processes_lose_nothing_and_new_instances_never_collide(api: Api) -> None:
    project = api.project()
    common = [str(CALLS), str(ROWS)]
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, api.url, project.token, str(writer), *common])
        for writer in range(PROCESSES)
    ]
    assert [one.wait(timeout=120) for one in running] == [0] * PROCESSES
    rows = project.export_records()
    scans = [row for row in rows if row["redcap_repeat_instrument"]]
    total = PROCESSES * CALLS * ROWS
    assert sorted(row["redcap_repeat_instance"] for row in scans) == list(range(1, total + 1))
    assert len({row["scan_uid"] for row in scans}) == total
    assert sum(row["name"] == "own" for row in rows) == PROCESSES * CALLS
