from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread

from fiona_dagster.adapters.conformance import ANOTHER, conformance_difference, errors, summary
from fiona_dagster.adapters.releases import deidentify_study
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.deidentification import SourceInstance
from tests.conftest import need_program, need_shared
from tests.domain.deid.planted import KEY, ct_instance, request, saved


def script(folder: Path, text: str) -> str:
    path = folder / "validator"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


def test_kinds_attributes_and_modules_are_kept_and_values_are_not() -> None:
    output = b"""MRImage
Error - </Laterality(0020,0060)> - Missing attribute for Type 2C Conditional - Module=<GeneralSeries>
Error - </PatientAge(0010,1010)[1]> - Value invalid for this VR [AS] = <Muster> - Length invalid for this VR = <6>
Error - </SegmentSequence(0062,0002)[1]/SegmentLabel(0062,0005)> - Missing attribute for Type 1 Required - Module=<Seg>
Error - </(0051,100b,"Muster^Max (0010,0010)")> - Bad private owner value - Muster
Error - </PatientName(0010,0010)> - Muster was seen at the Waldklinik
Error - Muster
Error - </PatientID(0010,0020)[1]> - Value invalid for this VR [LO] = <x> - Module=<Muster>
Error - </PatientSex(0010,0040)[1]> - Unrecognized enumerated value = <Muster>
Warning - </PatientName(0010,0010)[1]> - Value dubious for this VR [PN] = <Muster> - Retired Person Name form
"""
    assert errors(output) == [
        "Missing attribute for Type 2C Conditional Laterality (GeneralSeries)",
        "Value invalid for this VR PatientAge",
        "Missing attribute for Type 1 Required SegmentSequence/SegmentLabel (Seg)",
        "Bad private owner value private",
        f"{ANOTHER} PatientName",
        ANOTHER,
        "Value invalid for this VR PatientID",
        "Unrecognized enumerated value PatientSex",
    ]


def test_only_errors_that_the_original_did_not_have_count(tmp_path: Path) -> None:
    need_program("dciodvfy")
    original = saved(ct_instance(), tmp_path / "original.dcm")
    copy = dcmread(original)
    assert conformance_difference(original, original).new_errors == ()
    del copy.ImageType
    copy.PatientSex = "Muster"
    copy.save_as(tmp_path / "copy.dcm")
    found = conformance_difference(original, tmp_path / "copy.dcm")
    assert found.checked
    assert "Missing attribute for Type 1 Required ImageType (CTImage)" in found.new_errors
    assert "Unrecognized enumerated value PatientSex" in found.new_errors
    assert "Muster" not in str(found)
    assert conformance_difference(tmp_path / "copy.dcm", original).new_errors == ()


def test_what_nobody_could_check_is_said(tmp_path: Path) -> None:
    file = saved(ct_instance(), tmp_path / "original.dcm")
    missing = conformance_difference(file, file, tool="no such validator")
    assert (missing.checked, missing.why_not) == (False, "dciodvfy is not installed")
    slow = conformance_difference(file, file, tool=script(tmp_path, "exec sleep 60"), timeout=0.05)
    assert (slow.checked, slow.why_not) == (False, "dciodvfy took more than 0.05 s")
    ended = conformance_difference(file, file, tool=script(tmp_path, "kill -9 $$"))
    assert (ended.checked, ended.why_not) == (False, "dciodvfy was ended by signal 9")
    both = summary([(file, file), (file, file)], 5, tool="no such validator")
    assert (both.checked, both.of, both.why_not) == (0, 5, "dciodvfy is not installed")


def test_differences_of_several_files_are_added_up(tmp_path: Path) -> None:
    (tmp_path / "good").write_text("")
    (tmp_path / "bad").write_text("bad")
    tool = script(tmp_path, 'test -s "$2" && echo "Error - </Modality(0008,0060)> - Bad group" >&2; exit 0')
    pair = (tmp_path / "good", tmp_path / "bad")
    found = summary([pair, pair, pair[::-1]], 3, tool=tool)
    assert found.new_errors == (("Bad group Modality", 2),)
    assert (found.checked, found.why_not) == (3, "")


@pytest.mark.parametrize(
    "name", ["dcm_qa_nih/In/20180918GE", "dcm_qa_ts/In", "dcm4che/dcm4che-assembly/src/etc/testdata/dicom"]
)
def test_copies_of_real_files_have_no_error_that_their_originals_did_not_have(
    name: str, tmp_path: Path
) -> None:
    need_program("dciodvfy")
    folder = need_shared("corpus", *name.split("/"))
    original = next(path for path in sorted(folder.rglob("*")) if path.is_file())
    asked = request(tmp_path, pixels_are_clean=True)
    (copy,) = deidentify_study([SourceInstance(original, 1, "")], asked, KEY, Profile()).released
    found = conformance_difference(original, tmp_path / copy.path)
    assert found.checked
    assert list(found.new_errors) == []
