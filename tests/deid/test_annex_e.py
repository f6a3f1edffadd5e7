"""Every attribute of PS3.15 table E.1-1, with a mark in it: at the first level and three sequences deep."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.datadict import dictionary_VR

from fiona_dagster.domain.deid.table import annex_e
from tests.deid import objects, scoring
from tests.deid.answer_key import Action, Level
from tests.deid.generator import Author, Study
from tests.deid.raw import EXPLICIT, IMPLICIT
from tests.deid.words import ROOT, Planting

_WRITTEN = {0x00080005, 0x00080016, 0x00080018, 0x0020000D, 0x0020000E, 0x00100010, 0x00100020}
_TEXT = {"AE", "AS", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "OB", "UN"}


def _vr(tag: int) -> str:
    try:
        return dictionary_VR(tag).split(" or ")[0]
    except KeyError:
        return "UN"


def _fill(level: Level, planting_: Planting) -> None:
    there = {element.tag for element in level.elements}
    for tag in sorted(annex_e()):
        vr = _vr(tag)
        if tag in there or tag in _WRITTEN or tag >> 16 in {0x0000, 0x0002, 0x0004} or tag >> 16 >= 0x7FE0:
            continue
        if vr == "UI":
            uid = planting_.new_uid(3)
            level.gone(tag, "UI", uid)
        elif vr == "SQ":
            item = level.item(tag)
            item.gone(0x00104000, "LT", planting_.mark())
            item.gone(0x00081050, "PN", f"{planting_.mark()}^Item")
        elif vr in _TEXT:
            level.gone(tag, vr, planting_.mark() if vr != "AS" else "059Y")


def _nested(level: Level, planting_: Planting) -> None:
    _fill(level.item(0x52009229).item(0x00289110).item(0x00089124), planting_)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize("place", ["first level", "nested"])
def test_no_attribute_of_the_table_keeps_its_text(place: str, syntax: str, tmp_path: Path) -> None:
    study = Study("table", Planting("77"))
    maker = _fill if place == "first level" else _nested
    Author(study).add("every", objects.CT, "CT", [maker], syntax=syntax)
    outcome = scoring.run(study, tmp_path, scoring.profile_with())
    assert outcome.result.counts()["released"] == 1
    removed = [row for row in study.key if row.action is Action.TEXT_REMOVED]
    assert len(removed) > 500
    assert [row.place for row in scoring.score([outcome]).wrong if row.action is Action.TEXT_REMOVED] == []
    assert ROOT.encode() not in outcome.copies["every"].content
