from __future__ import annotations

import pytest

from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.retrieval_settings import Method, RetrieveOptions, retrieve_options


def test_a_source_says_whether_and_how_it_is_retrieved_from() -> None:
    assert retrieve_options({}, place="p") == RetrieveOptions()
    assert retrieve_options({"RETRIEVE": "off"}, place="p") is None
    assert retrieve_options({"RETRIEVE": "get"}, place="p") == RetrieveOptions(
        Method.GET, unless_switched_off=True
    )
    full = {
        "method": "move",
        "destination": "US",
        "discover_days": 2,
        "modalities": ["MR"],
        "give_up_hours": 2,
    }
    assert retrieve_options({"RETRIEVE": full}, place="p") == RetrieveOptions(
        Method.MOVE, "US", 2, ("MR",), 7200.0, unless_switched_off=True
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("pull", "use off, move or get"),
        ({"method": "off"}, "use off, move or get"),
        ({"methods": "move"}, "'methods' is not known"),
        ({"destination": "a title that is too long"}, "cannot be an AE title"),
        ({"destination": 4}, "cannot be an AE title"),
        ({"modalities": "MR"}, "no list of DICOM modalities"),
        ({"modalities": ["mr*"]}, "no list of DICOM modalities"),
        ({"discover_days": 400}, "use 0 to 365"),
        ({"give_up_hours": -1}, "use 0 to"),
        (["move"], "p"),
    ],
)
def test_what_cannot_be_understood_does_not_load(value: object, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        retrieve_options({"RETRIEVE": value}, place="p")
