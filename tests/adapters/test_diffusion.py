"""Diffusion series of the vendors' classic objects: gradients and b-values of released copies are the originals'."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from fiona_dagster.adapters import nifti
from fiona_dagster.domain.verification import VerifiedStudy
from tests.adapters.test_bids import fiona_profile, released

B = (0, 1000, 1000, 2000)
DIRECTIONS = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.6, 0.8), (0.6, -0.8, 0.0))
SLICES = 3


def siemens(image: Dataset, volume: int) -> None:
    block = image.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", B[volume])
    if B[volume]:
        block.add_new(0x0E, "FD", list(DIRECTIONS[volume]))


def ge(image: Dataset, volume: int) -> None:
    block = image.private_block(0x0019, "GEMS_ACQU_01", create=True)
    for number, value in zip((0xBB, 0xBC, 0xBD), DIRECTIONS[volume], strict=True):
        block.add_new(number, "DS", f"{value:.6f}")
    image.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x39, "IS", [B[volume], 8, 0, 0])


def philips(image: Dataset, volume: int) -> None:
    image.DiffusionBValue = float(B[volume])
    image.DiffusionGradientOrientation = list(DIRECTIONS[volume])


VENDORS: dict[str, tuple[str, Any]] = {
    "Siemens": ("SIEMENS", siemens),
    "GE": ("GE MEDICAL SYSTEMS", ge),
    "Philips": ("Philips Medical Systems", philips),
}


def a_series(folder: Path, manufacturer: str, with_gradients: Any) -> list[Path]:
    random = np.random.default_rng(7)
    paths = []
    folder.mkdir()
    for volume in range(len(B)):
        for position in range(SLICES):
            number = volume * SLICES + position + 1
            image = Dataset()
            image.file_meta = FileMetaDataset()
            image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            image.SpecificCharacterSet = "ISO_IR 100"
            image.ImageType = ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"]
            image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, f"2.25.7000{number}"
            image.StudyInstanceUID, image.SeriesInstanceUID = "2.25.7", "2.25.70"
            image.FrameOfReferenceUID = "2.25.71"
            image.StudyDate = image.SeriesDate = image.AcquisitionDate = image.ContentDate = "20240102"
            image.StudyTime = image.SeriesTime = image.ContentTime = "101500"
            image.AcquisitionTime = f"1015{volume:02d}"
            image.Modality, image.Manufacturer = "MR", manufacturer
            image.ManufacturerModelName = "Signa" if manufacturer.startswith("GE") else "Skyra"
            image.SoftwareVersions, image.SeriesDescription = "1", "DTI"
            image.PatientName, image.PatientID, image.PatientSex = "Doe^Jane", "123456", "F"
            image.PatientBirthDate = "19700101"
            image.StudyID, image.AccessionNumber, image.ReferringPhysicianName = "1", "A1", ""
            image.SeriesNumber, image.AcquisitionNumber, image.InstanceNumber = 5, volume + 1, number
            image.MRAcquisitionType, image.ScanningSequence, image.SequenceVariant = "2D", "EP", "SK"
            image.ScanOptions, image.SequenceName = "", "ep_b1000"
            image.SliceThickness, image.SpacingBetweenSlices = "2", "2"
            image.RepetitionTime, image.EchoTime, image.MagneticFieldStrength = "5000", "80", "3"
            image.FlipAngle, image.InPlanePhaseEncodingDirection, image.PatientPosition = "90", "COL", "HFS"
            image.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
            image.ImagePositionPatient = ["-16", "-16", str(2 * position)]
            image.SliceLocation = str(2 * position)
            image.Rows = image.Columns = 16
            image.PixelSpacing = ["2", "2"]
            image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
            image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
            image.PixelRepresentation = 0
            image.PixelData = random.integers(0, 4000, (16, 16), dtype=np.uint16).tobytes()
            image["PixelData"].VR = "OW"
            with_gradients(image, volume)
            path = folder / f"{number:03d}.dcm"
            image.save_as(path, enforce_file_format=True)
            paths.append(path)
    return paths


def converted(study: VerifiedStudy, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    return {path.suffix: path.read_bytes() for path in nifti.convert(study, folder).files}


@pytest.mark.parametrize("vendor", sorted(VENDORS))
def test_gradients_and_b_values_of_released_copies_are_those_of_the_originals(
    tmp_path: Path, vendor: str
) -> None:
    files = a_series(tmp_path / "originals", *VENDORS[vendor])
    copy = released(files, tmp_path, "P_1", fiona_profile())
    paths = [replace(one, path=path.name) for one, path in zip(copy.instances, files, strict=True)]
    original = replace(copy, folder=files[0].parent, study=replace(copy.study, instances=tuple(paths)))
    before, after = converted(original, tmp_path / "before"), converted(copy, tmp_path / "after")
    assert before.keys() == after.keys() == {".json", ".nii", ".bval", ".bvec"}
    assert before[".bval"].split() == [str(one).encode() for one in B]
    assert (before[".bval"], before[".bvec"]) == (after[".bval"], after[".bvec"])
    assert before[".nii"][352:] == after[".nii"][352:]
    assert before[".nii"][252:328] == after[".nii"][252:328], "the affine"
