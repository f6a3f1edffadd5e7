"""Sending: ours against DCMTK's dcmsend, to a tuned storescp and to one at its defaults, round by round.

    python benchmarks/send.py [--rounds 3] [--sizes small] [--responses 100000]

Both send the same files in one Association to the same kind of receiver, which is started anew for every measurement
and has to have every file afterwards. Only the ratios carry over to other machines. `--responses` sends so many small
instances to a storescp, tuned and as it comes, and a tenth to pynetdicom, and counts the answers; `--sets ""` does that
alone.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.generate import SIZES
from benchmarks.receivers import HOST, Receiver, receivers, receiving
from fiona_dagster.adapters.dicom_scu import send
from fiona_dagster.settings import DicomPeer

_ROOT = Path(__file__).resolve().parent.parent
BARS = {"storescp tuned": 1.5, "storescp": 15.0}
"""How many times as fast as dcmsend: to a tuned peer dcmsend is tuned as well, to the other it is as it comes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table; 1 where a file or an answer was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", choices=sorted(SIZES), default="small")
    parser.add_argument("--sets", default="ct,mr")
    parser.add_argument("--responses", type=int, default=0)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what runs is stopped, not left behind
    if not shutil.which("dcmsend") or not shutil.which("storescp"):
        print("needs the programs dcmsend and storescp", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="fiona-send-") as name:
        folder = Path(name)
        import pynetdicom  # noqa: F401 — a gateway that sends has it in memory already

        lost = sum(_compare(folder, one, options) for one in options.sets.split(",") if one)
        if options.responses:
            lost += _answers(folder, options.responses)
    return 1 if lost else 0


def _compare(folder: Path, name: str, options: argparse.Namespace) -> int:
    source = folder / name
    command = [sys.executable, "benchmarks/generate.py", str(folder), name, options.sizes]
    environment = dict(os.environ, PYTHONPATH=str(_ROOT))
    subprocess.run(command, check=True, cwd=_ROOT, env=environment)
    files = sorted(source.iterdir())
    lost = 0
    part = _quarter(files, folder / f"{name}-quarter")
    for receiver in receivers(frozenset(BARS), 1):
        tuned = receiver.name == "storescp tuned"
        # a peer at its defaults takes 20 images a second of dcmsend, whatever their size
        theirs = (source, len(files)) if tuned else part
        ratios, rates = [], []
        for number in range(options.rounds):
            pair = ((partial(_dcmsend, theirs[0], tuned), theirs[1]), (partial(_ours, files), len(files)))
            order = (0, 1) if number % 2 == 0 else (1, 0)
            found = [0.0, 0.0]
            for which in order:
                sending, count = pair[which]
                place = folder / f"{receiver.name.replace(' ', '-')}-{name}-{number}-{which}"
                seconds, missing = _timed(receiver, place, sending, count)
                found[which] = count / seconds
                lost += missing
            ratios.append(found[1] / found[0])
            rates.append(found[1])
        print(
            f"{name:4} to {receiver.name:15} ours {statistics.median(rates):7.0f} images/s, "
            f"{statistics.median(ratios):5.1f} x dcmsend [{min(ratios):.1f}-{max(ratios):.1f}], "
            f"bar {BARS[receiver.name]:g}, lost {lost}",
            flush=True,
        )
    return lost


def _quarter(files: Sequence[Path], folder: Path) -> tuple[Path, int]:
    """A folder with the first quarter of the files, and how many they are."""
    folder.mkdir()
    chosen = files[: max(1, len(files) // 4)]
    for one in chosen:
        os.link(one, folder / one.name)
    return folder, len(chosen)


def _timed(receiver: Receiver, place: Path, sending: Callable[[int], None], count: int) -> tuple[float, int]:
    """Seconds that it took, and how many files are not there afterwards."""
    place.mkdir()
    with receiving(receiver, place) as running:
        began = time.perf_counter()
        sending(running.port)
        seconds = time.perf_counter() - began
    missing = count - receiver.stored(place)
    shutil.rmtree(place)
    return seconds, missing


def _ours(files: Sequence[Path], port: int) -> None:
    send(files, DicomPeer("ANY-SCP", HOST, port), "BENCH").raise_for_failures()


def _dcmsend(source: Path, tuned: bool, port: int) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "TCP_NODELAY"}
    if tuned:
        environment["TCP_NODELAY"] = "1"
    options = ["--max-send-pdu", "131072"] if tuned else []
    command = ["dcmsend", *options, "--scan-directories", HOST, str(port), str(source)]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _answers(folder: Path, count: int) -> int:
    """Send one small instance `count` times to each kind of peer, half over one Association, half over four at once.

    Returns how many answers did not come. The peers keep nothing: what is looked at is the answers.
    """
    file = folder / "small.dcm"
    _small_instance(file)
    storescp, lost = shutil.which("storescp") or "storescp", 0
    python = [sys.executable, "-m", "pynetdicom", "storescp", "--ignore", "-q"]
    quick = {"TCP_NODELAY": "1"}
    kinds: list[tuple[str, list[str], dict[str, str], int]] = [
        ("storescp, no delay", [storescp, "--fork", "--ignore", "-pdu", "131072"], quick, count),
        ("storescp, as it comes", [storescp, "--fork", "--ignore"], {}, count),
        ("pynetdicom", python, {}, count // 10),  # ten times as slow
    ]
    for name, command, environment, share in kinds:
        receiver = Receiver(
            name, "keeps nothing", partial(_at_port, command), lambda _: 0, environment=environment
        )
        place = folder / name.replace(" ", "-")
        place.mkdir()
        with receiving(receiver, place) as running:
            peer = DicomPeer("ANY-SCP", HOST, running.port)
            for associations in (1, 4):
                asked = share // 2
                began = time.perf_counter()
                report = send([file] * asked, peer, "BENCH", associations=associations)
                seconds = time.perf_counter() - began
                good = sum(one.status == 0 for one in report.outcomes)
                lost += asked - good
                print(
                    f"{name}, {associations} Association(s): {asked} C-STORE requests in {seconds:.0f} s, "
                    f"{asked - good} answer(s) lost",
                    flush=True,
                )
    return lost


def _at_port(command: list[str], port: int, _: Path) -> list[str]:
    return [*command, str(port)]


def _small_instance(path: Path) -> None:
    from pydicom import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    content = Dataset()
    content.file_meta = FileMetaDataset()
    content.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content.SOPClassUID, content.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    content.StudyInstanceUID, content.SeriesInstanceUID = generate_uid(), generate_uid()
    content.PatientID, content.Modality = "ANSWERS", "OT"
    content.Rows = content.Columns = 16
    content.BitsAllocated = content.BitsStored = 8
    content.HighBit, content.PixelRepresentation, content.SamplesPerPixel = 7, 0, 1
    content.PhotometricInterpretation, content.PixelData = "MONOCHROME2", bytes(256)
    content.save_as(path, enforce_file_format=True)


if __name__ == "__main__":
    sys.exit(main())
