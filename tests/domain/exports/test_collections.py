from __future__ import annotations

import pytest

from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.exports.collections import Member, collection_name, download_list, places
from fiona_dagster.domain.exports.formats import ExportType
from fiona_dagster.domain.exports.profiles import NATIVE, ExportProfile

MEMBERS = [Member("P001", "Baseline", "b"), Member("P001", "Baseline", "a"), Member("P002", "", "c")]


def test_every_study_has_a_place_of_its_own() -> None:
    found = places(MEMBERS, NATIVE)
    assert {key: one.prefix for key, one in found.items()} == {"a": "P001", "b": "P001/2", "c": "P002"}
    bids = places(MEMBERS, ExportProfile(ExportType.BIDS))
    assert {one.session.folder for one in bids.values()} == {
        "sub-P001/ses-Baseline", "sub-P001/ses-Baselinex2", "sub-P002/ses-1",
    }  # fmt: skip
    assert {one.prefix for one in bids.values()} == {""}


@pytest.mark.parametrize(
    ("kind", "other"), [(ExportType.BIDS, "P-001"), (ExportType.NATIVE, "p001"), (ExportType.RAM_MS, "P 001")]
)
def test_two_participants_of_one_name_are_refused(kind: ExportType, other: str) -> None:
    first = "P_001" if kind is ExportType.RAM_MS else "P001"
    members = [Member(first, "", "a"), Member(other.replace(" ", "-"), "", "b")]
    with pytest.raises(Permanent, match="differ only in characters"):
        places(members, ExportProfile(kind))


def test_a_selection_is_told_apart_by_its_studies_whatever_their_order() -> None:
    assert collection_name("PROJ1", MEMBERS, NATIVE, whole=True) == "PROJ1_native.zip"
    name = collection_name("PROJ1", MEMBERS, NATIVE, whole=False)
    assert name == collection_name("PROJ1", MEMBERS[::-1], NATIVE, whole=False)
    assert name != collection_name("PROJ1", MEMBERS[:2], NATIVE, whole=False)


def test_a_download_list_is_that_of_fiona() -> None:
    assert download_list([("a.zip", "0f")], project="PROJ1") == "# PROJ1: 1 package(s)\na.zip,0f\n"
