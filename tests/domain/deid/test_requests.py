from __future__ import annotations

from pathlib import Path

import pytest

from fiona_dagster.domain.deid.conventions import check_request
from fiona_dagster.domain.deidentification import ReleaseRequest
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.project import Project


def asked(participant: str = "P001", event: str = "", project: str = "HEART") -> ReleaseRequest:
    return ReleaseRequest(Project(project), participant, event, Path())


@pytest.mark.parametrize("text", ["../x", "..", ".", "a/../b", "x\u202ey", "x\x85y", "a\nb", "x" * 65])
def test_names_that_lead_elsewhere_or_cannot_be_seen_are_refused_with_their_place(text: str) -> None:
    for place, request in (
        ("participant", asked(text)),
        ("event", asked(event=text)),
        ("project", asked(project=text)),
    ):
        with pytest.raises(ConfigurationError) as refused:
            check_request(request)
        assert refused.value.place == place
        assert text not in str(refused.value) or text in {".", ".."}


@pytest.mark.parametrize("text", ["a/b", "Besøk 1", "v1.2", "...", "Å-1"])
def test_other_names_may_be_used(text: str) -> None:
    check_request(asked(text, text, text))


def test_an_event_must_fit_behind_its_prefix() -> None:
    check_request(asked(event="x" * 54))
    with pytest.raises(ConfigurationError, match="at most 54"):
        check_request(asked(event="x" * 55))
