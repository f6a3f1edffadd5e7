from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.api import Api, any_api


@pytest.fixture(scope="module")
def redcap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with any_api(tmp_path_factory.mktemp("redcap")) as found:
        yield found


@pytest.fixture
def api(redcap: Api) -> Api:
    """Any REDCap. Where there are but two projects, each test may have each of them once."""
    redcap.taken.clear()
    return redcap
