"""Verified studies and packages for the tests of packaging and delivery."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset

from fiona_dagster.domain.deidentification import DeidentifiedInstance, DeidentifiedStudy, ReleaseRequest
from fiona_dagster.domain.packaging import Package
from fiona_dagster.domain.project import Project
from fiona_dagster.domain.verification import Findings, VerifiedStudy, conclude

SERIES = "2.25.20"
CT = "1.2.840.10008.5.1.4.1.1.2"


def verified_study(
    folder: Path, instances: Iterable[DeidentifiedInstance], *, participant: str = "P001", revision: int = 1
) -> VerifiedStudy:
    """A study that passed every check, as verification makes it."""
    study = DeidentifiedStudy("2.25.9", tuple(instances), "FIONA", "a1" * 32)
    request = ReleaseRequest(Project("PROJ1"), participant, "Baseline", folder)
    concluded = conclude(study, request, Findings(), revision=revision)
    assert isinstance(concluded, VerifiedStudy)
    return concluded


def write_copy(
    path: Path, sop_instance_uid: str, *, size: int = 600, series: str = SERIES, **attributes: str
) -> None:
    """A small CT file of a research copy."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CT, sop_instance_uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "2.25.9", series
    values = {"AccessionNumber": "ACC1", "PatientID": "P001", "InstitutionName": "PROJ1", "StudyDate": "20200101",
              "StudyTime": "101500", "SeriesNumber": "3", "SeriesDescription": "Thorax, 5 mm"}  # fmt: skip
    for keyword, value in (values | attributes).items():
        setattr(dataset, keyword, value)
    dataset.add_new("PixelData", "OW", bytes(n % 251 for n in range(size)))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset.file_meta.MediaStorageSOPClassUID = CT
    dataset.file_meta.MediaStorageSOPInstanceUID = sop_instance_uid
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def instances(folder: Path, files: Iterable[tuple[str, str, str]]) -> tuple[DeidentifiedInstance, ...]:
    """Instances from (path, SOP Instance UID, Series Instance UID), with the sums of what lies there now."""
    return tuple(
        DeidentifiedInstance(
            None, "", "released", path=path, sop_instance_uid=sop, series_instance_uid=series,
            study_instance_uid="2.25.9",
            sha256=hashlib.sha256((folder / path).read_bytes()).hexdigest(), size_bytes=(folder / path).stat().st_size,
        )
        for path, sop, series in files
    )  # fmt: skip


def ct_instances(folder: Path, count: int = 3, *, size: int = 600) -> tuple[DeidentifiedInstance, ...]:
    """`count` CT files in `folder`."""
    for n in range(count):
        write_copy(folder / f"CT.2.25.{n + 1}.dcm", f"2.25.{n + 1}", size=size)
    return instances(folder, ((f"CT.2.25.{n + 1}.dcm", f"2.25.{n + 1}", SERIES) for n in range(count)))


def a_study(
    folder: Path, count: int = 3, *, size: int = 600, participant: str = "P001", revision: int = 1
) -> VerifiedStudy:
    """A verified study of `count` CT files."""
    found = ct_instances(folder, count, size=size)
    return verified_study(folder, found, participant=participant, revision=revision)


def a_package(
    folder: Path, size: int = 300_000, name: str = "PROJ1_P001_Baseline_2.25.9_ACC1_native.zip"
) -> Package:
    """A package whose content is only bytes; delivery does not look inside."""
    folder.mkdir(parents=True, exist_ok=True)
    content = b"".join(hashlib.sha256(n.to_bytes(4, "big")).digest() for n in range(size // 32 + 1))[:size]
    (folder / name).write_bytes(content)
    return Package(
        name, folder / name, size, hashlib.md5(content, usedforsecurity=False).hexdigest(), "c" * 64, 3, 1
    )
