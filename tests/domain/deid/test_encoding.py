from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.filereader import read_dataset

from fiona_dagster.domain.deid.encoding import Element, Syntax, encode_elements, text_element

SYNTAXES = [
    Syntax(implicit=True, little=True),
    Syntax(implicit=False, little=True),
    Syntax(implicit=False, little=False),
]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_pydicom_reads_what_we_write(syntax: Syntax) -> None:
    inner = [text_element(0x00080100, "SH", "T-1"), text_element(0x00080104, "LO", "Øre")]
    content = encode_elements(
        [
            text_element(0x00100020, "LO", "P1"),
            Element(0x00082218, "SQ", [inner, []]),
            text_element(0x00080005, "CS", "ISO_IR 192"),
            Element(0x0008002A, "DT", b""),
        ],
        syntax,
    )
    read = read_dataset(BytesIO(content), syntax.implicit, syntax.little)
    assert read.PatientID == "P1"
    assert read.AnatomicRegionSequence[0].CodeMeaning == "Øre"
    assert len(read.AnatomicRegionSequence) == 2
    assert len(content) % 2 == 0


def test_a_value_that_outgrew_its_vr_is_written_as_unknown() -> None:
    content = encode_elements([text_element(0x00080104, "LO", "x" * 70000)], SYNTAXES[1])
    assert content[4:6] == b"UN"
    assert (
        len(read_dataset(BytesIO(content), is_implicit_VR=False, is_little_endian=True)[0x00080104].value)
        == 70000
    )


@given(
    st.lists(st.text(alphabet=st.characters(exclude_characters="\\\0", exclude_categories=["C"])), max_size=5)
)
def test_text_survives(values: list[str]) -> None:
    text = "\\".join(value.strip() for value in values)
    content = encode_elements(
        [text_element(0x00080005, "CS", "ISO_IR 192"), text_element(0x00189073, "LT", text)], SYNTAXES[1]
    )
    read = read_dataset(BytesIO(content), is_implicit_VR=False, is_little_endian=True)
    assert read.get_item(0x00189073).value.decode().rstrip() == text.rstrip()
