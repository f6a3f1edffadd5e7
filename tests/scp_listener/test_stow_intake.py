"""The bytes of a part are the bytes of its file, wherever the network cuts them and whatever they resemble."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiona_dagster.adapters.received_files import file_meta
from fiona_dagster.adapters.uploads import Upload
from fiona_dagster.domain.dimse_status import Status
from fiona_dagster.domain.reception import Peer, StoreRequest
from scp_listener.store import Store, Stored
from scp_listener.stow_intake import Intake, Malformed, Receiving

BOUNDARY = b"bound"
META = file_meta("1.2.840.10008.5.1.4.1.1.2", "1.2.3", "1.2.840.10008.1.2.1", "SENDER")
ALIKE = [
    b"\r\n--bound",
    b"\r\n--boun",
    b"--bound--\r\n",
    b"\r",
    b"\n",
    b"\r\n--",
    b"\r\n-",
    b"x",
    b"DICM",
    b"\0",
]


class Keeping:
    """In place of the store: keeps the data sets."""

    site = "ABCD"

    def __init__(self) -> None:
        self.found: list[bytes] = []
        self.recorder = self

    def refused(self, _refusal: object) -> None:
        """Not asked here."""

    def put(self, upload: Upload, request: StoreRequest, *_: object) -> Stored:
        content = upload.path.read_bytes()
        assert request.sop_instance_uid == "1.2.3"
        self.found.append(
            content[
                len(file_meta("1.2.840.10008.5.1.4.1.1.2", "1.2.3", "1.2.840.10008.1.2.1", "AE", "PROJ")) :
            ]
        )
        upload.unlink()
        return Stored(Status.SUCCESS)


def taken(folder: Path, chunks: Sequence[bytes]) -> tuple[list[bytes], Intake]:
    keeping = Keeping()
    receiving = Receiving(cast(Store, keeping), folder, Peer("AE", "PROJ", "::1"), "a", "", 0, 1 << 30)
    intake = Intake(BOUNDARY, receiving)
    for chunk in chunks:
        intake.feed(chunk)
    intake.close()
    assert not list(folder.iterdir())
    return keeping.found, intake


def body(parts: Sequence[bytes]) -> bytes:
    return b"".join(b"--bound\r\na: b\r\n\r\n" + one + b"\r\n" for one in parts) + b"--bound--"


def cut(content: bytes, places: Sequence[int]) -> list[bytes]:
    ends = sorted({one % (len(content) + 1) for one in places} | {0, len(content)})
    return [content[start:end] for start, end in pairwise(ends)]


data_sets = st.lists(
    st.lists(st.sampled_from(ALIKE), max_size=12).map(b"".join), min_size=1, max_size=3
).filter(lambda parts: not any(b"\r\n--bound" in one + b"\r" for one in parts))


@given(parts=data_sets, places=st.lists(st.integers(0, 5000), max_size=40))
def test_no_byte_is_lost_or_made_up(
    tmp_path_factory: pytest.TempPathFactory, parts: Any, places: Any
) -> None:
    folder = tmp_path_factory.mktemp("incoming")
    found, intake = taken(folder, cut(body([META + one for one in parts]), places))
    assert [one for one in found if one] == [one for one in parts if one]
    assert intake.complete


@given(size=st.integers(0, 600), places=st.lists(st.integers(0, 5000), max_size=10))
def test_a_body_cut_anywhere_stores_nothing_half(
    tmp_path_factory: pytest.TempPathFactory, size: int, places: Any
) -> None:
    whole = body([META + b"first", META + b"second"])
    folder = tmp_path_factory.mktemp("incoming")
    found, intake = taken(folder, cut(whole[:size], places))
    assert found == [b"first", b"second"][: len(found)]
    assert intake.complete == (size >= len(whole))


def test_a_body_of_something_else_is_malformed(tmp_path: Path) -> None:
    with pytest.raises(Malformed):
        taken(tmp_path, [b"PK\x03\x04"])
