from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiona_dagster.domain.deidentification import DeidentifiedInstance
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.exports.formats import ExportType
from fiona_dagster.domain.packaging import (
    CopyHeader,
    Entry,
    Manifest,
    Package,
    comment_text,
    entry_name,
    manifest_head,
    md5_line,
    package_name,
    sources_digest,
    warning_text,
)
from tests.deliverables import verified_study

HEADER = CopyHeader("Haukeland", "P001", "20200101", "101500", "3", "Thorax, 5 mm")
MANIFEST = Manifest("PROJ1", "P001", "Baseline", "2.25.9", "native", "FIONA", "d1", 2, "s1",
                    (Entry("Baseline/DICOM/a.dcm", "ab", 7, "2.25.1"),))  # fmt: skip


def test_the_name_is_that_of_fiona() -> None:
    name = package_name("PROJ1", "P001", "Baseline", "2.25.9", "ACC1", ExportType.NATIVE)
    assert name == "PROJ1_P001_Baseline_2.25.9_ACC1_native.zip"


def test_an_empty_value_leaves_its_place_empty() -> None:
    assert package_name("PROJ1", "P001", "", "2.25.9", " ", ExportType.PURE) == "PROJ1_P001__2.25.9__PURE.zip"


def test_parts_are_made_safe_for_a_path() -> None:
    name = package_name("PROJ1", "../P 1", "a/b", "2.25.9", "x\n", ExportType.NIFTI)
    assert name == "PROJ1__P_1_a_b_2.25.9_x_NIFTI.zip"


@pytest.mark.parametrize("kind", list(ExportType))
@pytest.mark.parametrize("bad", ["..", "../x", "/etc/x", "a/../../b", ".ssh", "a\\..\\b", "\0", "~", "C:"])
def test_no_name_leads_out_of_a_package(kind: ExportType, bad: str) -> None:
    header = replace(HEADER, institution_name=bad, patient_id=bad, study_date=bad, series_description=bad)
    for name in (entry_name(kind, bad, bad, header), package_name(bad, bad, bad, bad, bad, kind)):
        parts = name.split("/")
        assert not {"", ".", ".."} & set(parts)
        assert not [part for part in parts if part.startswith(".") or set(part) & set("\\\0:~")]


@given(st.text(max_size=64), st.text(max_size=200), st.text(max_size=64))
def test_every_name_is_one_component_that_fits_with_its_endings(
    participant: str, event: str, accession: str
) -> None:
    name = package_name("P" * 20, participant, event, "2.25." + "9" * 39, accession, ExportType.NATIVE)
    assert "/" not in name
    assert not name.startswith(".")
    assert len(f".{name}.0123abcd.part".encode()) <= 255
    assert len(f"{name}.manifest.json".encode()) <= 255


def test_names_that_had_to_be_cut_are_told_apart() -> None:
    names = {
        package_name("PROJ1", "P" * 64, "E" * 150 + end, "2.25.9", "A", ExportType.NATIVE) for end in "12"
    }
    assert len(names) == 2


def test_the_native_tree_has_the_event_and_dicom() -> None:
    assert entry_name(ExportType.NATIVE, "Event 1", "CT.2.25.1.dcm") == "Event_1/DICOM/CT.2.25.1.dcm"
    assert entry_name(ExportType.NATIVE, "", "CT.2.25.1.dcm") == "DICOM/CT.2.25.1.dcm"
    assert entry_name(ExportType.NIFTI, "", "3_Thorax.nii") == "NIFTI/3_Thorax.nii"


def test_the_pure_tree_is_that_of_fiona() -> None:
    name = entry_name(ExportType.PURE, "Baseline", "CT.2.25.1", HEADER)
    assert name == "Haukeland/P001/20200101_101500_Baseline/0003_Thorax--5-mm/CT.2.25.1.dcm"


@pytest.mark.parametrize("number", ["", "-1", "x"])
def test_a_missing_series_number_is_unknown_in_the_pure_tree(number: str) -> None:
    name = entry_name(
        ExportType.PURE, "", "a.dcm", replace(HEADER, series_number=number, series_description="")
    )
    assert name == "Haukeland/P001/20200101_101500/unknown_unknown/a.dcm"


@given(st.text(), st.text())
def test_no_value_leads_out_of_the_tree(event: str, description: str) -> None:
    header = CopyHeader(description, description, description, description, "1", description)
    for kind in ExportType:
        parts = entry_name(kind, event, "a.dcm", header).split("/")
        assert not {"", ".", ".."} & set(parts)


def test_export_types_are_found_in_any_case_and_others_are_refused() -> None:
    assert ExportType.named("Nifti") is ExportType.NIFTI
    with pytest.raises(Permanent, match="no export type"):
        ExportType.named("RAM-XX")


def test_the_manifest_lists_every_file_and_has_no_time() -> None:
    package = Package("a.zip", Path("/outbox/a.zip"), 10, "m5", MANIFEST.content_sha256, 1, 2)
    body = json.loads(MANIFEST.as_json(package))
    assert body["files"] == [
        {"name": "Baseline/DICOM/a.dcm", "sha256": "ab", "size": 7, "sop_instance_uid": "2.25.1"}
    ]
    assert body["package"]["md5"] == "m5"
    assert body["format"] == "fiona-package/1"
    assert body["revision"] == 2
    assert not [key for key in body if "time" in key or "date" in key]


def test_the_content_sum_changes_with_a_file_and_with_its_name() -> None:
    other = replace(MANIFEST, files=(Entry("Baseline/DICOM/a.dcm", "ac", 7, "2.25.1"),))
    renamed = replace(MANIFEST, files=(Entry("Baseline/DICOM/b.dcm", "ab", 7, "2.25.1"),))
    assert len({m.content_sha256 for m in (MANIFEST, other, renamed)}) == 3


def test_the_sources_digest_does_not_depend_on_the_order() -> None:
    one, two = (
        DeidentifiedInstance(None, "", "released", path=name, sop_instance_uid=f"2.25.{n}", sha256=name)
        for n, name in enumerate("ab")
    )
    forth, back = verified_study(Path(), (one, two)), verified_study(Path(), (two, one))
    assert sources_digest(forth) == sources_digest(back)
    assert sources_digest(forth) != sources_digest(verified_study(Path(), (one,)))
    assert manifest_head(forth, ExportType.PURE).sources == sources_digest(forth)


def test_the_comment_says_what_the_package_is_without_its_revision() -> None:
    text = comment_text(MANIFEST)
    assert "participant: P001\n" in text
    assert "files: 1\n" in text
    assert comment_text(replace(MANIFEST, revision=3)) == text
    unconverted = comment_text(replace(MANIFEST, not_converted=(("2.25.20", "holds no images"),)))
    assert "not converted: 2.25.20: holds no images\n" in unconverted


def test_the_warning_tells_why_a_package_is_empty() -> None:
    assert "released" in warning_text(MANIFEST)
    assert "NIfTI" in warning_text(replace(MANIFEST, export_type="NIFTI"))


def test_the_md5_line_has_the_form_of_md5sum() -> None:
    assert md5_line("a.zip", "0" * 32) == f"{'0' * 32}  a.zip\n"
