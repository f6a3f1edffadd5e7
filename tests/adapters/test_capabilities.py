"""What `fiona doctor` learns of an archive by negotiation alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from fiona_dagster.adapters.dicom_scu.capabilities import USUAL_CLASSES, USUAL_SYNTAXES, capabilities
from fiona_dagster.adapters.image_peers import DicomArchive
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.image_destinations import Confirm
from fiona_dagster.embedded.pacs import EmbeddedPacs
from tests.adapters.test_dicom_scu import US
from tests.adapters.test_forwarding import ONLY_MR_EXPLICIT
from tests.peers import storescp


def test_they_fit_into_one_association() -> None:
    assert len(USUAL_CLASSES) * len(USUAL_SYNTAXES) + 1 <= 128


def test_what_a_peer_refuses_is_named_and_nothing_is_stored(tmp_path: Path) -> None:
    also = "MRImageStorage\\Explicit\nPresentationContext2 = VerificationSOPClass\\Explicit"
    (tmp_path / "scp.cfg").write_text(ONLY_MR_EXPLICIT.replace("MRImageStorage\\Explicit", also))
    with storescp(tmp_path / "received", "-xf", str(tmp_path / "scp.cfg"), "Default") as peer:
        found = capabilities(peer, US)
        said = DicomArchive(peer, US, "ARCHIVE", "lab", Confirm.ANSWERS).check()
    assert (set(found.refused_classes), found.commits) == (USUAL_CLASSES.keys() - {"MR"}, False)
    assert set(found.refused_syntaxes) == USUAL_SYNTAXES.keys() - {"Explicit VR Little Endian"}
    assert "accepts 1 of 18 usual kinds of images (REFUSES CT, Enhanced CT, Enhanced MR" in said
    assert "what is in Implicit VR Little Endian, JPEG Lossless" in said
    assert "nothing was stored" in said
    assert not list((tmp_path / "received").iterdir())


def test_a_peer_that_takes_no_images_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "scp.cfg").write_text(ONLY_MR_EXPLICIT.replace("MRImageStorage", "VerificationSOPClass"))
    with (
        storescp(tmp_path / "received", "-xf", str(tmp_path / "scp.cfg"), "Default") as peer,
        pytest.raises(Permanent, match="accepts no images"),
    ):
        DicomArchive(peer, US, "ARCHIVE", "lab").check()


def test_our_own_pacs_takes_everything_and_commits(tmp_path: Path) -> None:
    with EmbeddedPacs(tmp_path / "pacs") as pacs:
        said = DicomArchive(pacs.peer, US, "ARCHIVE", "lab").check()
        assert len(pacs.index) == 0
    assert "accepts 18 of 18 usual kinds of images" in said
    assert "offers Storage Commitment; nothing was stored; it answers C-FIND" in said
