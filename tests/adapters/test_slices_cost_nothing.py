"""A CT of thousands of slices pays for no decoder, not even for its import, although its project has pixels masked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from pydicom import dcmread

from benchmarks import slices
from benchmarks.slices import DECODERS, write_slices

_SLICES = 3000


def treated(folder: Path, target: Path) -> dict[str, Any]:
    """What a process of its own says that made the copies: what is loaded here says nothing."""
    command = [sys.executable, slices.__file__, "--alone", "all", str(folder), str(target)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    return dict(json.loads(done.stdout))


def series(folder: Path, count: int) -> None:
    """Slices that differ in nothing but their SOP Instance UID, which costs less than writing each anew."""
    (first,) = write_slices(folder, 1, edge=4, first=1000)
    content = first.read_bytes()
    uid = dcmread(first).SOPInstanceUID.encode()
    for number in range(1001, 1000 + count):
        other = content.replace(uid, uid.replace(b".1000.", b".%d." % number))
        (folder / f"IM{number:06d}.dcm").write_bytes(other)


def test_no_pixel_of_a_ct_of_3000_slices_is_decoded(tmp_path: Path) -> None:
    series(tmp_path / "in", _SLICES)
    found = treated(tmp_path / "in", tmp_path / "out")
    assert (found["released"], found["read"], found["decoders"]) == (_SLICES, 0, [])


def test_one_slice_that_says_yes_has_the_series_decoded(tmp_path: Path) -> None:
    first, *_ = write_slices(tmp_path / "in", 2, edge=4)
    suspected = dcmread(first)
    suspected.BurnedInAnnotation = "YES"
    suspected.save_as(first)
    found = treated(tmp_path / "in", tmp_path / "out")
    assert (found["released"], found["read"], found["decoders"]) == (2, 2, list(DECODERS))
