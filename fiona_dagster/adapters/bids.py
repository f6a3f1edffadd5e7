"""A study as a part of a BIDS dataset: converted images under their names, compressed, with completed sidecars."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fiona_dagster.adapters.durable import write_json_durably
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.exports.bids import Converted, Session, bids_sidecar, placed

if TYPE_CHECKING:
    from fiona_dagster.adapters.nifti import Conversion

_NIFTI_1_HEADER = 348
_COPY_BYTES = 1 << 20
_FASTEST = 1
"""Compression level: of NIfTI the first level gains nearly all that the sixth does, in a fraction of the time."""


def bids_files(conversion: Conversion, session: Session) -> list[tuple[str, Path]]:
    """Names in the dataset and files of what was converted; images are compressed where they lie.

    Raises:
        Permanent: a converted image is no NIfTI.
    """
    beside: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in conversion.files:
        beside[path.stem][path.suffix] = path
    images = [_converted(stem, files) for stem, files in sorted(beside.items())]
    found = []
    for stem, name in placed(images, session).items():
        for ending, path in sorted(beside[stem].items()):
            if ending == ".json":
                write_json_durably(path, bids_sidecar(json.loads(path.read_bytes()), name))
            if ending == ".nii":
                found.append((f"{name}.nii.gz", _compressed(path)))
            else:
                found.append((f"{name}{ending}", path))
    return found


def written(files: dict[str, bytes], folder: Path) -> Sequence[tuple[str, Path]]:
    """Small files of a dataset in `folder`, by their names in the package."""
    found = []
    for number, (name, content) in enumerate(sorted(files.items())):
        path = folder / f"dataset-{number}"
        path.write_bytes(content)
        found.append((name, path))
    return found


def _converted(stem: str, files: dict[str, Path]) -> Converted:
    sidecar = json.loads(files[".json"].read_bytes()) if ".json" in files else {}
    axes = _axes(files[".nii"]) if ".nii" in files else 0
    return Converted(stem, sidecar if axes else {}, axes, frozenset(files))


def _axes(image: Path) -> int:
    """The number of axes of a NIfTI-1 image (`dim[0]`), as dcm2niix writes it on this machine."""
    with image.open("rb") as stream:
        start = stream.read(_NIFTI_1_HEADER)
    if len(start) < _NIFTI_1_HEADER or struct.unpack_from("<i", start)[0] != _NIFTI_1_HEADER:
        raise Permanent("a converted image is no NIfTI-1 file")
    return int(struct.unpack_from("<h", start, 40)[0])


def _compressed(image: Path) -> Path:
    """The image compressed, without a name or a time in it, so that the same image gives the same bytes."""
    target = image.with_name(f"{image.name}.gz")
    with (
        image.open("rb") as plain,
        target.open("wb") as stream,
        gzip.GzipFile("", "wb", _FASTEST, stream, mtime=0) as packed,
    ):
        shutil.copyfileobj(plain, packed, _COPY_BYTES)
    image.unlink()
    return target
