from __future__ import annotations

import pytest

from fiona_dagster.embedded.query_matching import matches


@pytest.mark.parametrize(
    ("vr", "wanted", "held", "expected"),
    [
        ("LO", [], ["anything"], True),
        ("LO", [""], [], True),
        ("LO", ["CT Thorax"], ["CT Thorax"], True),
        ("LO", ["CT Thorax"], ["ct thorax"], False),
        ("LO", ["CT*"], ["CT Thorax"], True),
        ("LO", ["CT?Thorax"], ["CT Thorax"], True),
        ("LO", ["C.T"], ["CxT"], False),
        ("LO", ["CT"], [], False),
        ("PN", ["ødegård*"], ["Ødegård^Bjørn"], True),
        ("PN", ["Doe^John"], ["Doe^John^^^"], True),
        ("PN", ["山田*"], ["Yamada^Tarou=山田^太郎"], True),
        ("UI", ["1.2", "1.3"], ["1.3"], True),
        ("UI", ["1.*"], ["1.3"], False),
        ("CS", ["MR"], ["CT", "MR"], True),
        ("DA", ["20240101-20240131"], ["20240131"], True),
        ("DA", ["20240101-20240131"], ["20240201"], False),
        ("DA", ["20240101-"], ["20240201"], True),
        ("DA", ["-20240101"], ["20240201"], False),
        ("DA", ["20240201"], ["2024.02.01"], True),
        ("DA", ["20240101-"], [], False),
        ("TM", ["0900-1000"], ["100000.5"], True),
        ("TM", ["09"], ["093000"], True),
        ("TM", ["0900-1000"], ["100100"], False),
        ("IS", ["7"], ["07"], True),
        ("IS", ["x"], ["7"], False),
    ],
)
def test_attributes_match_as_the_standard_says(
    vr: str, wanted: list[str], held: list[str], expected: bool
) -> None:
    assert matches(vr, wanted, held) is expected
