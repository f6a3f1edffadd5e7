"""From the receiver to delivery, packages cancelled and tried again, with the ledger in PostgreSQL: the same tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.assets import test_cancelled_packages as _module
from tests.gateway import Gateway, running_gateway
from tests.postgres import Postgres, running_postgres

globals().update({name: one for name, one in vars(_module).items() if name.startswith("test_")})


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as made:
        yield made


@pytest.fixture
def gateway(tmp_path: Path, postgres: Postgres) -> Iterator[Gateway]:
    with running_gateway(tmp_path, LEDGER=postgres.url(postgres.database())) as made:
        yield made
        assert made.ledger.inventory.totals().balance.holds
        made.ledger.close()
