"""Small studies for a backfill: CT, MR, enhanced CT and structured reports of as many patients, always the same."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

ROOT = "1.2.826.0.1.3680043.99.32"
IMAGES = {"CT": 4, "MR": 4, "enhanced CT": 1, "SR": 2}
"""Instances of a study of each kind; studies take the kinds in turn."""
_EDGE = 64
_FRAMES = 4


@dataclass(frozen=True)
class Study:
    """A study on disk."""

    study_instance_uid: str
    accession_number: str
    files: tuple[Path, ...]


def write_studies(folder: Path, count: int) -> list[Study]:
    """Write `count` studies below `folder`, a folder each."""
    makers = _makers()
    kinds = list(IMAGES)
    return [
        _write(folder / f"{number:05d}", number, kinds[number % len(kinds)], makers)
        for number in range(1, count + 1)
    ]


def _write(folder: Path, number: int, kind: str, makers: dict[str, Callable[[int], Any]]) -> Study:
    folder.mkdir(parents=True)
    study = Study(f"{ROOT}.{number}", f"BF{number:06d}", tuple(_files(folder, IMAGES[kind])))
    for index, path in enumerate(study.files, start=1):
        image = makers[kind](index)
        image.StudyInstanceUID = study.study_instance_uid
        image.SeriesInstanceUID = f"{study.study_instance_uid}.1"
        image.SOPInstanceUID = f"{study.study_instance_uid}.1.{index}"
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.AccessionNumber, image.InstanceNumber = study.accession_number, index
        image.PatientID, image.PatientName = f"P{number:08d}", f"Fjellstad{number:05d}^Kari"
        image.save_as(path, enforce_file_format=True)
    return study


def _files(folder: Path, count: int) -> Iterator[Path]:
    yield from (folder / f"IM{index:04d}.dcm" for index in range(1, count + 1))


def _makers() -> dict[str, Callable[[int], Any]]:
    """By kind, the n-th instance of a study, without what makes it that study's."""
    import pydicom.data
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRLittleEndian

    from benchmarks.headers import ct_image, ct_template, enhanced_ct, mr_image, mr_template

    ct, mr, volume = ct_template(), mr_template(), enhanced_ct(_FRAMES)
    report = dcmread(Path(pydicom.data.__file__).parent / "test_files" / "test-SR.dcm")
    pixels = Random(7).randbytes(2 * _EDGE * _EDGE * _FRAMES)

    def small(image: Any, frames: int = 1) -> Any:
        image.Rows = image.Columns = _EDGE
        image.PixelData = pixels[: 2 * _EDGE * _EDGE * frames]
        image["PixelData"].VR = "OW"
        return image

    return {
        "CT": lambda index: small(ct_image(ct, index, ExplicitVRLittleEndian)),
        "MR": lambda index: small(mr_image(mr, index)),
        "enhanced CT": lambda _: small(copy.deepcopy(volume), _FRAMES),
        "SR": lambda _: copy.deepcopy(report),
    }
