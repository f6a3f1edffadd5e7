"""Are all identifiers masked that real devices burned into the images of the shared test data?

    python benchmarks/real_text.py FOLDER [--frames N]

The areas were marked by a person who looked at the images; what stands in them is not written down here. Every frame
is read (or N, evenly), by a gateway that knows nothing of the study, and of the ink in each area at least 98 of 100
pixels must lie in boxes. Exit status 1 where they do not.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fiona_dagster.adapters.dicom_files import read_instance
from fiona_dagster.adapters.pixel_frames import decoded_frames, describe
from fiona_dagster.adapters.text_in_pixels import read_text
from fiona_dagster.domain.deid.originals import OriginalValues
from fiona_dagster.domain.deid.text import first_text
from fiona_dagster.domain.pixels.boxes import FramesText
from fiona_dagster.domain.pixels.masks import MARGIN
from fiona_dagster.domain.pixels.policy import PixelPolicy
from fiona_dagster.domain.pixels.texts import TextJudge
from fiona_dagster.domain.pixels.windowing import view_of

_SOP_INSTANCE_UID = 0x00080018
_LEAST = 0.98
_MIDDLE = 140
"""Grey level between ink and ground in all of the areas."""


@dataclass(frozen=True)
class Marked:
    """An image: its place, SHA-256 of its SOP Instance UID (16 digits), and areas as left, top, width, height."""

    path: str
    uid_hash: str
    areas: tuple[tuple[int, int, int, int], ...]
    is_dark: bool = False
    """Whether the ink is darker than what is behind it."""


_ULTRASOUND = "deid-data/deid_data/data/ultrasounds"
_FO_DICOM = "fo-dicom/Tests/FO-DICOM.Tests/Test Data"
MARKED = (
    Marked(f"{_ULTRASOUND}/GREYSCALE_CINE.zip/GREYSCALE_CINE.dcm", "93af312bcd8792ca", ((4, 2, 792, 16),)),
    Marked(f"{_ULTRASOUND}/GREYSCALE_IMAGE.dcm", "dba1d83aed614efe", ((4, 3, 1010, 18),)),
    Marked(
        f"{_ULTRASOUND}/RGB_IMAGE.dcm", "28f3dd62b623f379",
        ((2, 4, 240, 22), (2, 32, 140, 22), (500, 4, 220, 22), (770, 4, 118, 22), (500, 32, 275, 22)),
    ),
    Marked(
        f"{_FO_DICOM}/DIRW0007", "50183f0ac3af6f43",
        ((30, 1, 105, 16), (30, 17, 160, 14), (500, 1, 76, 17), (498, 31, 76, 15), (446, 80, 42, 15)),
    ),
    Marked(
        "presidio/docs/samples/python/sample_data/2_ORIGINAL.dcm", "73420d18cef2480a",
        ((0, 0, 232, 12), (0, 13, 118, 14)),
    ),
    Marked(
        "presidio/presidio-image-redactor/tests/test_data/0_ORIGINAL_compressed.dcm", "d5d9d3dc7c57e561",
        ((0, 0, 820, 40), (10, 44, 358, 42)), is_dark=True,
    ),
    Marked(
        "weasis-dicom-tools/weasis-dicom-tools/src/test/resources/org/dcm4che3/img/ybrFull-RLE.dcm",
        "0aab8a0627f43161",
        ((30, 1, 92, 15), (30, 17, 262, 14), (558, 1, 82, 16), (562, 32, 76, 14), (114, 373, 36, 16)),
    ),
    Marked(
        "dcm4che/dcm4che-test-data/src/main/resources/US-PAL-8-10x-echo", "b76377c4738f7118",
        ((0, 28, 100, 15), (0, 43, 85, 15)),
    ),
)  # fmt: skip


def left_standing(folder: Path, one: Marked, text: FramesText) -> list[str]:
    """Which areas of the frames that were read are not masked, and how much of them is.

    Raises:
        LookupError: the file is another one than the one that was marked.
    """
    path = folder / one.path
    uid = first_text(read_instance(path).dataset, _SOP_INSTANCE_UID)
    if hashlib.sha256(uid.encode()).hexdigest()[:16] != one.uid_hash:
        raise LookupError(f"{one.path} is another image than the one that was marked")
    judge, image = TextJudge(OriginalValues(), PixelPolicy(mode="all")), describe(path)
    wrong = []
    for frame in decoded_frames(path, frames=text.read):
        mask = np.zeros((image.rows, image.columns), dtype=bool)
        for box in text.of_frame(frame.index):
            if not judge.stays(box):
                grown = box.grown(MARGIN, rows=image.rows, columns=image.columns)
                mask[grown.top : grown.bottom, grown.left : grown.right] = True
        view = view_of(frame, image)
        grey = view[..., 0] if frame.stored.ndim == 2 and image.palette is None else view.mean(axis=2)
        for left, top, width, height in one.areas:
            area = (slice(top, top + height), slice(left, left + width))
            ink = (grey[area] < _MIDDLE) if one.is_dark else (grey[area] > _MIDDLE)
            share = float(mask[area][ink].mean()) if ink.any() else 0.0
            if share < _LEAST:
                wrong.append(f"{one.path} frame {frame.index} at {left},{top}: {100 * share:.0f} % masked")
    return wrong


def main() -> None:
    """Print what was found, image by image."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, help="of each object; all, where this is not given")
    given = parser.parse_args()
    failed = False
    for one in MARKED:
        count = describe(given.folder / one.path).number_of_frames
        some = None if given.frames is None else {n * count // given.frames for n in range(given.frames)}
        text = read_text(given.folder / one.path, frames=some)
        wrong = left_standing(given.folder, one, text)
        failed |= bool(wrong)
        print(
            f"{'NOT MASKED' if wrong else 'masked':10} {len(some or range(count)):3} frames  {one.path}",
            flush=True,
        )
        for line in wrong:
            print("   ", line)
    sys.exit(failed)


if __name__ == "__main__":
    main()
