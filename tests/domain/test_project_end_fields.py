from __future__ import annotations

from fiona_dagster.domain.dictionaries import choices_of, role_dictionary
from fiona_dagster.domain.project_end_fields import FIELDS, STATE, end_fields, news, writable_fields
from fiona_dagster.domain.project_life import STEPS, EndStep, StepTaken

TAKEN = [
    StepTaken(EndStep.REQUESTED, 1e9, "kari", "mail  of the\nPI"),
    StepTaken(EndStep.LOCKED, 1e9, "ola", ""),
]
EVERY = {STATE, *FIELDS.values()}


def test_every_step_has_a_line_and_the_state_counts_them() -> None:
    values = end_fields(TAKEN)
    assert values[STATE] == "2"
    assert values["project_end_request"].endswith(" kari mail of the PI")
    assert values["project_end_locked"].endswith(" ola")
    assert values["project_end_confirm"] == ""
    assert end_fields([])[STATE] == "0"


def test_our_dictionary_has_the_fields_and_a_code_for_every_state() -> None:
    rows = role_dictionary("DataTransferProjects").fields
    assert writable_fields(rows) == EVERY
    (state,) = [row for row in rows if row["field_name"] == STATE]
    assert len(choices_of(state["select_choices_or_calculations"])) == len(STEPS) + 1


def test_a_field_that_a_site_made_otherwise_is_left_alone() -> None:
    rows = [{"field_name": "project_end_confirm", "field_type": "yesno"},
            {"field_name": "project_end_locked", "field_type": "text",
             "text_validation_type_or_show_slider_number": "date_ymd"},
            {"field_name": "project_end_request", "field_type": "notes"}]  # fmt: skip
    assert writable_fields(rows) == {"project_end_request"}


def test_only_what_is_new_is_written_and_what_people_wrote_stays() -> None:
    wanted = end_fields(TAKEN)
    assert news(wanted, wanted, EVERY) == {}
    assert news(wanted, {}, EVERY) == {name: value for name, value in wanted.items() if value}
    assert news(wanted, {"project_end_request": "The PI called"}, {"project_end_request"}) == {}
    called_off = news(end_fields([]), wanted, EVERY)
    assert called_off == {STATE: "0", "project_end_request": "", "project_end_locked": ""}
