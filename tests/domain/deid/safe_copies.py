"""Copies of real files with the safe list applied to their private attributes, made with pydicom alone."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from fiona_dagster.domain.deid.csa import clean_csa
from fiona_dagster.domain.deid.private import PrivateBlocks, fits, is_creator_tag

Plant = Callable[[bytes], bytes]


def copy_safely(source: Path, target: Path, plant: Plant = lambda value: value) -> None:
    """Write `source` with private attributes by the safe list; `plant` changes each header before it is cleaned."""
    dataset = pydicom.dcmread(source)
    keep_safe(dataset, plant)
    dataset.save_as(target)


def keep_safe(dataset: Dataset, plant: Plant) -> None:
    blocks = PrivateBlocks()
    for tag in sorted(dataset.keys()):
        element = dataset.get_item(tag)
        assert element is not None
        if is_creator_tag(tag):
            value = element.value
            blocks.seen(tag, value if isinstance(value, bytes) else str(value).encode())
        elif not tag.is_private:
            if dataset[tag].VR == "SQ":
                for item in dataset[tag].value:
                    keep_safe(item, plant)
        elif not _stays(dataset, tag, blocks, plant):
            del dataset[tag]
    needed = blocks.creators_that_stay()
    for tag in sorted(dataset.keys()):
        if is_creator_tag(tag) and tag not in needed:
            del dataset[tag]


def _stays(dataset: Dataset, tag: Any, blocks: PrivateBlocks, plant: Plant) -> bool:
    row, element = blocks.row(tag), dataset.get_item(tag)
    if row is None or row.action == "clean" or element is None:
        return False
    if row.vr == "SQ":
        if dataset[tag].VR != "SQ":
            return False
        for item in dataset[tag].value:
            keep_safe(item, plant)
    else:
        value = element.value or b""
        if not isinstance(value, bytes) or not fits(row, element.VR or "UN", value):
            return False
        if row.action == "csa":
            cleaned = clean_csa(plant(value))
            if cleaned is None:
                return False
            dataset[tag].value = cleaned
    blocks.stays(tag)
    return True


@dataclass(frozen=True)
class Converted:
    """What dcm2niix made of one series: volumes with their headers, gradients and sidecars, by name."""

    volumes: dict[str, tuple[bytes, bytes]]
    gradients: dict[str, str]
    sidecars: dict[str, dict[str, Any]]


def convert(folder: Path, results: Path) -> Converted:
    import dcm2niix

    results.mkdir()
    command = [
        str(dcm2niix.bin),
        "-b",
        "y",
        "-ba",
        "n",
        "-z",
        "n",
        "-f",
        "%s_%e",
        "-o",
        str(results),
        str(folder),
    ]
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
    subprocess.run(command, check=True, capture_output=True, env=environment, timeout=120)
    return Converted(
        {path.name: _geometry_and_data(path.read_bytes()) for path in results.glob("*.nii")},
        {path.name: path.read_text() for path in [*results.glob("*.bval"), *results.glob("*.bvec")]},
        {path.name: json.loads(path.read_text()) for path in results.glob("*.json")},
    )


def _geometry_and_data(nifti: bytes) -> tuple[bytes, bytes]:
    """Dimensions, sizes, scaling, time unit, slice order, quaternion and affine; and everything behind the header."""
    (offset,) = struct.unpack_from("<f", nifti, 108)
    return nifti[40:148] + nifti[252:328], nifti[int(offset) :]
