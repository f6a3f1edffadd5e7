"""What sending reads of a file."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from fiona_dagster.adapters.dicom_scu import read_stored_instance
from fiona_dagster.domain.errors import Permanent

CT, UID, SYNTAX = b"1.2.840.10008.5.1.4.1.1.2\0", b"1.2.3.4\0", b"1.2.840.10008.1.2\0"
EMPTY_ELEMENT = struct.pack("<HHL", 0x0008, 0x0016, 0)


def element(number: int, vr: bytes, value: bytes) -> bytes:
    length = struct.pack("<HL", 0, len(value)) if vr == b"OB" else struct.pack("<H", len(value))
    return struct.pack("<HH", 0x0002, number) + vr + length + value


def file_of(path: Path, *, private: int = 0, data_set: bytes = EMPTY_ELEMENT) -> Path:
    meta = element(0x0001, b"OB", b"\0\1") + element(0x0002, b"UI", CT) + element(0x0003, b"UI", UID)
    meta += element(0x0010, b"UI", SYNTAX) + (element(0x0102, b"OB", b"x" * private) if private else b"")
    path.write_bytes(b"\0" * 128 + b"DICM" + meta + data_set)
    return path


@pytest.mark.parametrize("private", [0, 700, 800, 850, 900, 5000, 70_000])
def test_the_data_set_is_what_follows_the_file_meta_information(tmp_path: Path, private: int) -> None:
    path = file_of(tmp_path / "a.dcm", private=private)
    found = read_stored_instance(path)
    assert (found.sop_class_uid, found.sop_instance_uid) == (CT[:-1].decode(), "1.2.3.4")
    assert found.transfer_syntax_uid == SYNTAX[:-1].decode()
    assert path.read_bytes()[found.offset :] == EMPTY_ELEMENT
    assert found.length == len(EMPTY_ELEMENT)


def test_a_file_that_ends_with_its_file_meta_information_is_refused(tmp_path: Path) -> None:
    for cut in (b"", b"\x08\0"):
        with pytest.raises(Permanent, match="no data set"):
            read_stored_instance(file_of(tmp_path / "a.dcm", data_set=cut))


def test_a_length_beyond_the_file_is_refused(tmp_path: Path) -> None:
    path = file_of(tmp_path / "a.dcm")
    content = bytearray(path.read_bytes())
    content[content.index(UID) - 2] = 0xFF
    path.write_bytes(content)
    with pytest.raises(Permanent):
        read_stored_instance(path)


def test_other_files_and_missing_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text" * 50)
    with pytest.raises(Permanent, match="no DICM prefix"):
        read_stored_instance(tmp_path / "text")
    with pytest.raises(Permanent, match="cannot be read"):
        read_stored_instance(tmp_path / "missing")
