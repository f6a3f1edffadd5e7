"""The packaged dictionary says what pydicom's says: after an upgrade of pydicom these tests tell what changed."""

from __future__ import annotations

import csv

import pytest
from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary
from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from fiona_dagster.domain.deid import dictionary
from fiona_dagster.domain.deid.dictionary import (
    EDITION,
    is_registered,
    is_transfer_syntax,
    keyword_of,
    standard_names,
    standard_vr,
    tag_of,
)
from fiona_dagster.domain.deid.table import sop_classes, table_bytes, table_names
from fiona_dagster.domain.deid.tables.generate_dictionary import (
    ATTRIBUTE_COLUMNS,
    INSTALLED_EDITION,
    UID_COLUMNS,
    attribute_rows,
    uid_rows,
)

REPEATED = [int(tag.replace("x", digit), 16) for tag in RepeatersDictionary for digit in "02468aef"]
UNKNOWN = [
    group << 16 | element for group in range(0x20, 0xFFFF, 0x1F) for element in (0, 0x0007, 0x1010, 0xFFFF)
]


def table(name: str) -> list[tuple[str, ...]]:
    return [tuple(row) for row in csv.reader(table_bytes(name).decode("ascii").splitlines())]


def standard(tag: int) -> str | None:
    try:
        return dictionary_VR(tag)
    except KeyError:
        return None


def test_the_tables_are_those_of_the_installed_pydicom() -> None:
    assert INSTALLED_EDITION == EDITION, "pydicom follows another edition: run tables/generate_dictionary"
    assert table(f"dictionary_{EDITION}.csv") == [ATTRIBUTE_COLUMNS, *attribute_rows()]
    assert table(f"registered_uids_{EDITION}.csv") == [UID_COLUMNS, *uid_rows()]


def test_one_edition_of_each_table_is_packaged() -> None:
    found = [name for name in table_names() if name.startswith(("dictionary_", "registered_uids_"))]
    assert found == [f"dictionary_{EDITION}.csv", f"registered_uids_{EDITION}.csv"]


@pytest.mark.parametrize(
    "tags", [list(DicomDictionary), REPEATED, UNKNOWN], ids=["single", "repeated", "unknown"]
)
def test_a_tag_has_the_vr_and_the_keyword_that_pydicom_gives_it(tags: list[int]) -> None:
    assert [f"{tag:08x}" for tag in tags if standard_vr(tag) != standard(tag)] == []
    assert [f"{tag:08x}" for tag in tags if keyword_of(tag) != keyword_for_tag(tag)] == []


def test_repeating_attributes_are_not_found_in_private_groups() -> None:
    assert standard_vr(0x60023000) == "OB or OW"
    assert (standard_vr(0x60013000), keyword_of(0x60013000)) == (None, "")


def test_a_keyword_has_the_tag_that_pydicom_gives_it() -> None:
    keywords = {entry[4] for entry in DicomDictionary.values()} - {""}
    assert [one for one in sorted(keywords) if tag_of(one) != tag_for_keyword(one)] == []
    assert [tag_of(one) for one in ("", "NoKeyword", "patientname", "OverlayData")] == [None] * 4


def test_registered_uids_are_pydicoms_and_the_newer_object_types() -> None:
    assert all(map(is_registered, [*UID_dictionary, *sop_classes()]))
    assert not is_registered("1.2.840.10008.1.2.3.4.5")
    assert not is_registered("")


def test_transfer_syntaxes_are_those_of_the_standard() -> None:
    expected = {uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"}
    assert {uid for uid in [*UID_dictionary, *sop_classes(), "1.2.3"] if is_transfer_syntax(uid)} == expected


def test_the_standards_vocabulary_is_all_names() -> None:
    expected = [entry[2] for entry in DicomDictionary.values()] + [
        entry[0] for entry in UID_dictionary.values()
    ]
    assert sorted(standard_names()) == sorted(expected)
    assert "Anatomic Structure, Space or Region Sequence" in standard_names()


def test_a_table_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    standard_vr(0x00100010)
    is_registered("1.2.3")
    monkeypatch.setattr(dictionary, "table_bytes", lambda name: pytest.fail(f"{name} is read again"))
    assert (standard_vr(0x00100020), keyword_of(0x00100020)) == ("LO", "PatientID")
    assert is_registered("1.2.840.10008.1.2")
