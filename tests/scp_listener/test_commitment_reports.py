"""Reports of Storage Commitment that an archive brings over its own Association, when that of the request has ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import Dataset
from pynetdicom import AE, build_role

from fiona_dagster.domain.commitment import (
    ALL_COMMITTED,
    STORAGE_COMMITMENT,
    WELL_KNOWN_INSTANCE,
    Reference,
    event_information,
)
from fiona_dagster.domain.image_destinations import Confirm
from fiona_dagster.embedded.samples import write_samples
from fiona_dagster.settings import DicomPeer
from tests.adapters.test_dicom_scu import US
from tests.adapters.test_forwarding import Bench, archive, bench_on, verified
from tests.peers import HOST, orthanc
from tests.scp_listener.conftest import Running


@pytest.fixture
def bench(listener: Running) -> Iterator[Bench]:
    with bench_on(listener.layout.ledger) as made:
        yield made


def test_orthanc_reports_to_our_receiver_and_the_transfer_is_confirmed_by_it(
    listener: Running, bench: Bench, tmp_path: Path
) -> None:
    (study, *_) = (one for one in write_samples(tmp_path / "samples") if one.name == "sr-report")
    ours = DicomPeer(US, HOST, listener.port)
    with orthanc(tmp_path / "orthanc", modalities={"fiona": ours}) as peer:
        receipt = bench.bring(verified(study.files), archive(peer.peer, Confirm.COMMITMENT))
    assert (receipt.confirmed_by, receipt.confirmed) == ("commitment", len(study.files))


def test_a_report_counts_if_we_asked_for_it_and_is_in_the_ledger_before_it_is_answered(
    listener: Running, bench: Bench
) -> None:
    asked = bench.ledger.asked_commitments
    asked.ask("2.25.77", bench.transfer.id, "PACS", "digest", ["1.2.9.1"], now=5.0)
    assert _report(listener.port, "2.25.78", "1.2.9.1") == 0x0115
    assert asked.outcome("2.25.77") is None
    assert _report(listener.port, "2.25.77", "1.2.9.1", "1.2.9.2") == 0
    assert asked.outcome("2.25.77") == (frozenset({"1.2.9.1"}), {})
    assert "2.25.77" not in listener.log.read_text()


def _report(port: int, transaction: str, *uids: str) -> int:
    entity = AE(ae_title="PACS")
    entity.add_requested_context(STORAGE_COMMITMENT)
    association = entity.associate(
        HOST, port, ext_neg=[build_role(STORAGE_COMMITMENT, scp_role=True)], ae_title="FIONA"
    )
    assert association.is_established
    references = [(Reference("1.2.840.10008.5.1.4.1.1.2", uid), None) for uid in uids]
    event_type, information = event_information(transaction, references)
    assert event_type == ALL_COMMITTED
    answer: Dataset = association.send_n_event_report(
        information, event_type, STORAGE_COMMITMENT, WELL_KNOWN_INSTANCE
    )[0]
    association.release()
    return int(answer.Status)
