"""Image objects of any shape, written to disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid


def image_file(
    path: Path,
    frames: npt.NDArray[Any],
    *,
    interpretation: str = "MONOCHROME2",
    bits_stored: int = 0,
    syntax: str = ExplicitVRLittleEndian,
    planar: int = 0,
    **attributes: Any,
) -> Path:
    """Writes frames x rows x columns (x samples) as one object; native, or encoded where pydicom can."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = frames.shape[:3]
    dataset.SamplesPerPixel = 3 if frames.ndim == 4 else 1
    dataset.PhotometricInterpretation = interpretation
    if frames.ndim == 4:
        dataset.PlanarConfiguration = planar
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    if frames.dtype.kind == "f":
        setattr(dataset, "FloatPixelData" if frames.dtype.itemsize == 4 else "DoubleFloatPixelData", b"")
        dataset[
            "FloatPixelData" if frames.dtype.itemsize == 4 else "DoubleFloatPixelData"
        ].value = frames.tobytes()
    else:
        bits = frames.dtype.itemsize * 8
        dataset.BitsAllocated, dataset.BitsStored = bits, bits_stored or bits
        dataset.HighBit = dataset.BitsStored - 1
        dataset.PixelRepresentation = int(frames.dtype.kind == "i")
        ordered = np.moveaxis(frames, 3, 1) if planar else frames
        value = ordered.tobytes()
        dataset.PixelData = value + b"\0" * (len(value) % 2)
        dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    if syntax != ExplicitVRLittleEndian:
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)
    return path
