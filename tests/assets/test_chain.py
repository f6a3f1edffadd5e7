"""The whole chain, run in-process against real servers: what every stage promises, once each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fiona_dagster.domain.transfer import Balance, TransferState
from tests.gateway import Gateway, running_gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("gateway")) as made:
        yield made


def test_a_coupled_study_goes_all_the_way(gateway: Gateway) -> None:
    study = gateway.receive("ct-thorax")
    gateway.settle()
    transfer = gateway.ledger.transfers.of_study(study.key)[0]
    assert (transfer.state, transfer.project) == (TransferState.DELIVERED, "BRAINAGE")
    assert gateway.ledger.transfers.balance(transfer.id) == Balance(12, released=12)
