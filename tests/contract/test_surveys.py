"""Links of surveys, and reports: what is refused."""

from __future__ import annotations

import pytest

from tests.contract.api import Api, refusal

EVENT = "visit_1_arm_1"
LINKS = ("surveyLink", "surveyAccessCode", "surveyReturnCode")


@pytest.fixture
def form(api: Api) -> dict[str, str]:
    """A call to a project with a survey and one record."""
    token = api.survey_project()
    data = f'[{{"record_id": "1", "redcap_event_name": "{EVENT}", "name": "Ada"}}]'
    api.post(token=token, content="record", format="json", data=data)
    return {"token": token, "returnFormat": "json", "event": EVENT, "record": "1", "instrument": "lifestyle"}


@pytest.mark.parametrize("content", [*LINKS, "surveyQueueLink"])
def test_a_record_that_does_not_exist_has_no_link(api: Api, form: dict[str, str], content: str) -> None:
    answer = api.post(**{**form, "content": content, "record": "-1"})
    assert (answer.status_code, refusal(answer)) == (400, 'The record "-1" does not exist')


@pytest.mark.parametrize("content", LINKS)
def test_an_instrument_that_is_no_survey_has_no_link(api: Api, form: dict[str, str], content: str) -> None:
    for instrument in ("baseline", "nothing"):
        assert api.post(**{**form, "content": content, "instrument": instrument}).status_code == 400
    assert api.post(**{**form, "content": content, "event": "nowhere_arm_1"}).status_code == 400


def test_a_link_stays_the_same(api: Api, form: dict[str, str]) -> None:
    first, second = (api.post(**form, content="surveyLink").text for _ in range(2))
    assert first == second


def test_survey_columns_are_exported_when_asked_and_passed_over_on_import(
    api: Api, form: dict[str, str]
) -> None:
    call = {"token": form["token"], "content": "record", "format": "json"}
    text = api.post(**call, exportSurveyFields="true").text
    row = api.post(**call, exportSurveyFields="true").json()[0]
    names = list(row)
    assert names.index("lifestyle_timestamp") == names.index("smoker") - 1
    assert "redcap_survey_identifier" in names
    assert "lifestyle_timestamp" not in api.post(**call).json()[0]
    assert api.post(**call, data=text).json() == {"count": 1}


def test_a_report_that_does_not_exist_is_refused(api: Api, form: dict[str, str]) -> None:
    for number in ("999999999", "x", ""):
        call = {"token": form["token"], "content": "report", "format": "json", "report_id": number}
        assert api.post(**call).status_code == 400
