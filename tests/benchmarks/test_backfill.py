"""What the benchmark of a backfill counts by: CPU of process trees, its studies, and the shares in its report."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pydicom import dcmread

from benchmarks.backfill import Measured
from benchmarks.backfill_account import Runs, StageCost
from benchmarks.backfill_studies import IMAGES, write_studies
from benchmarks.process_tree import TreeCpu, cpu_of

BURN = "import time\nwhile time.process_time() < 0.2: pass\n"
STAYS = BURN + "print('done', flush=True)\ninput()"
PARENT = f"""
import subprocess, sys
subprocess.run([sys.executable, "-S", "-c", {BURN!r}])
pipe = subprocess.PIPE
with subprocess.Popen([sys.executable, "-S", "-c", {STAYS!r}], stdin=pipe, stdout=pipe) as other:
    other.stdout.readline()
    print("ready", flush=True)
    input()
    other.communicate(b"end")
"""


def test_the_cpu_of_a_tree_has_children_that_ended_and_such_that_go_on() -> None:
    command = [sys.executable, "-S", "-c", PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        found = cpu_of(parent.pid)
        parent.communicate("\n")
    assert found.children >= 0.3
    assert found.total == found.own + found.children
    assert cpu_of(parent.pid) == TreeCpu(0.0, 0.0)
    assert cpu_of(os.getpid()).own > 0


def test_studies_are_of_all_kinds_each_with_names_of_its_own(tmp_path: Path) -> None:
    studies = write_studies(tmp_path, len(IMAGES))
    assert sorted(len(one.files) for one in studies) == sorted(IMAGES.values())
    images = [dcmread(path) for one in studies for path in one.files]
    assert len({one.SOPInstanceUID for one in images}) == len(images)
    assert len({one.PatientID for one in images}) == len(studies)
    assert {one.AccessionNumber for one in images} == {one.accession_number for one in studies}


def test_the_orchestrations_share_is_what_is_left_beside_the_stages() -> None:
    cpu = {"receiver-ABCD": 1.0, "daemon": 2.0, "code-server": 1.0, "webserver": 0.5,
           "redcap": 9.0, "research-pacs": 9.0, "sftp": 9.0}  # fmt: skip
    one = Measured(
        "arriving",
        10,
        60.0,
        5.0,
        cpu,
        7.0,
        {"routing": StageCost(10, 0.1, 0.3, 3.0)},
        {"passage": Runs(10, 0, 1, 2)},
    )
    assert (one.work, one.orchestration) == (3.0, 7.5)
    assert "10.0 a minute" in one.text()
    assert "orchestration: 0.750 CPU s a study, 65 % of the gateway's, 2.50 x the work" in one.text()
