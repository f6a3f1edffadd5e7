from __future__ import annotations

from collections.abc import Iterator

import pytest

from fiona_dagster.embedded.redcap.server import RedcapServer
from tests.contract.api import Api


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An embedded REDCap of this test alone, for what no other server lets us do."""
    with RedcapServer(tmp_path_factory.mktemp("redcap") / "redcap.sqlite", durable=False) as server:
        yield Api(server.url, server.super_token, server)
