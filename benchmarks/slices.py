"""What looking for burned-in text costs a CT of thousands of slices, none of which is suspected.

    python benchmarks/slices.py [--slices N] [--rounds R] [--folder DIR]

The slices are those of the set `ct` (`generate.py`) with 64 by 64 pixels: the header decides, and pixels are copied.
CPU ms of the process, an instance, lowest and highest of the rounds, which run in turns: `decision` is nothing but the
rules and the look at whole series; `masks` makes all copies where every suspected image is read, `vouched for` where
the project vouches for its pixels. Exit status 1 where a slice was not released or a decoder was loaded.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DECODERS = (
    "cv2",
    "onnxruntime",
    "fiona_dagster.adapters.pixel_frames",
    "fiona_dagster.adapters.text_in_pixels",
)
"""Modules without which no pixel is decoded and none is read."""
_KEY = bytes(range(32))


def write_slices(folder: Path, count: int, edge: int = 64, first: int = 1) -> list[Path]:
    """`count` CT images of one series, with headers as scanners write them, numbered from `first`."""
    from pydicom.uid import ExplicitVRLittleEndian

    from benchmarks.generate import disc
    from benchmarks.headers import ct_image, ct_template

    folder.mkdir(parents=True, exist_ok=True)
    template, pixels, paths = ct_template(), disc(edge), []
    for number in range(first, first + count):
        path = folder / f"IM{number:06d}.dcm"
        paths.append(path)
        if not path.exists():
            image = ct_image(template, number, ExplicitVRLittleEndian)
            image.Rows = image.Columns = edge
            image.PixelData = pixels[number % len(pixels)]
            image.save_as(path, enforce_file_format=True)
    return paths


def treat(folder: Path, target: Path, mode: str) -> dict[str, object]:
    """Make the copies of all slices in this process.

    `mode` is `all` (read and mask what is suspected) or `vouched` (the project says that pixels are clean).

    Returns:
        CPU seconds, number of copies, number of slices that were read, and decoders that were loaded.
    """
    from fiona_dagster.adapters.releases import ReleaseRequest, SourceInstance, deidentify_study
    from fiona_dagster.domain.deid.profile import default_profile
    from fiona_dagster.domain.pixels.policy import PixelPolicy
    from fiona_dagster.domain.project import Project

    project = (
        Project(name="BENCHMARK", pixels=PixelPolicy(mode="all"))
        if mode == "all"
        else Project(name="BENCHMARK", pixels_are_clean=True)
    )
    sources = [SourceInstance(path, n, "") for n, path in enumerate(sorted(folder.iterdir()), 1)]
    start = time.process_time()
    request = ReleaseRequest(project, "P-0001", "baseline", target)
    study = deidentify_study(sources, request, _KEY, default_profile(), workers=1)
    return {
        "seconds": time.process_time() - start,
        "released": len(study.released),
        "read": sum(one.masking is not None for one in study.instances),
        "decoders": [name for name in DECODERS if name in sys.modules],
    }


def decide(folder: Path) -> dict[str, object]:
    """The decision alone, of headers that are read already: CPU seconds."""
    from fiona_dagster.adapters.dicom_files import read_instance
    from fiona_dagster.adapters.pixel_masking import suspected_series
    from fiona_dagster.adapters.release_parts import Treated, not_released
    from fiona_dagster.adapters.releases import SourceInstance
    from fiona_dagster.domain.deid.table import sop_classes
    from fiona_dagster.domain.deid.text import first_text
    from fiona_dagster.domain.pixels.policy import PixelPolicy
    from fiona_dagster.domain.pixels.suspicion import pixel_text_reason

    policy = PixelPolicy(mode="all")
    paths = sorted(folder.iterdir())
    headers = [read_instance(path).dataset for path in paths]
    rows = [sop_classes()[first_text(one, 0x00080016)] for one in headers]
    result = not_released(SourceInstance(paths[0], 1, ""), "held", "")
    start = time.process_time()
    reasons = [pixel_text_reason(one, row, policy) for one, row in zip(headers, rows, strict=True)]
    treated = [Treated(result, None, "series", reason) for reason in reasons]
    found = suspected_series(treated)
    return {
        "seconds": time.process_time() - start,
        "released": len(paths),
        "read": len(found),
        "decoders": [],
    }


def main() -> None:
    """Print what the stage costs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slices", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--alone", nargs=3, metavar=("WHAT", "IN", "OUT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        what, source, target = given.alone
        done = decide(Path(source)) if what == "decision" else treat(Path(source), Path(target), what)
        print(json.dumps(done))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)) / f"slices-{given.slices}"
        write_slices(folder, given.slices)
        sys.exit(_measured(folder, Path(temporary), given.slices, given.rounds))


def _measured(folder: Path, temporary: Path, slices: int, rounds: int) -> int:
    costs: dict[str, list[float]] = {"decision": [], "all": [], "vouched": []}
    failed = False
    for number in range(rounds):
        for what, found in costs.items():
            target = temporary / f"{what}-{number}"
            command = [sys.executable, __file__, "--alone", what, str(folder), str(target)]
            done = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
            found.append(1000 * done["seconds"] / slices)
            failed |= done["released"] != slices or done["read"] != 0 or bool(done["decoders"])
    names = {"decision": "decision", "all": "masks", "vouched": "vouched for"}
    for what, found in costs.items():
        print(f"{names[what]:12} {min(found):.4f} to {max(found):.4f} CPU ms / instance")
    print(
        "NOT released, or pixels were read" if failed else f"{slices} slices released, no decoder was loaded"
    )
    return int(failed)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
