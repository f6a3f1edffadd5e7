"""What people are told, when, and where to."""

from __future__ import annotations

from typing import Any

import pytest

from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.notification import (
    Event,
    digest_is_due,
    digest_notice,
    failure_notice,
    notify_settings,
)

KEY = "20261101-0123456789ab"
MAIL = {"HOST": "mail", "FROM": "fiona@h.example", "TO": ["a@h.example"]}


def test_a_failure_names_study_project_and_reason_and_counts_by_state() -> None:
    notice = failure_notice([Event(1, KEY, "BRAIN", "held", "why"), Event(2, KEY, "BRAIN", "failed")])
    assert notice is not None
    assert notice.subject == "FIONA: 1 failed and 1 held transfer(s) need a person"
    assert f"{KEY}  BRAIN  held: why" in notice.text
    assert notice.as_json()["events"][0]["reason"] == "why"
    assert failure_notice([]) is None


def test_a_digest_sums_up_and_a_long_list_is_cut_with_a_word_about_it() -> None:
    notice = digest_notice([Event(n, KEY, "BRAIN", "delivered", "", 10) for n in range(150)], waiting=3)
    assert notice is not None
    assert notice.subject == "FIONA: 150 delivered with 1500 image(s), 3 wait for a person"
    assert "and 50 more" in notice.text
    assert digest_notice([], waiting=3) is None


@pytest.mark.parametrize(("last", "now", "due"), [
    (None, 5 * 3600.0, False), (None, 6 * 3600.0, True), (6 * 3600.0, 7 * 3600.0, False),
    (-3600.0, 6 * 3600.0, True),
])  # fmt: skip
def test_the_digest_is_said_once_a_day_from_its_hour_on(last: float | None, now: float, due: bool) -> None:
    assert digest_is_due(last=last, now=now, start_of_day=0.0, hour=6) is due


def test_settings_have_the_usual_ports_and_unknown_keys_are_told() -> None:
    settings, warnings = notify_settings(
        {"NOTIFY": {"SMTP": {**MAIL, "TLS": "tls"}, "WEBHOOK": {"URL": "https://h/x", "URI": ""}}}, place="c"
    )
    assert settings.smtp is not None
    assert (settings.smtp.port, settings.channels, len(warnings)) == (465, ("smtp", "webhook"), 1)
    assert notify_settings({}, place="c")[0].channels == ()


@pytest.mark.parametrize("section", [
    {"SMTP": {"HOST": "mail"}}, {"SMTP": {**MAIL, "TO": ["a b@h"]}}, {"SMTP": {**MAIL, "TO": "a@h"}},
    {"SMTP": {**MAIL, "TLS": "none", "USER": "u"}}, {"SMTP": {**MAIL, "TLS": "maybe"}},
    {"SMTP": {**MAIL, "FROM": "x@h\nBcc: y@h"}}, {"WEBHOOK": {"URL": "file:///etc/passwd"}}, {"DIGESTHOUR": 24},
])  # fmt: skip
def test_what_cannot_be_understood_does_not_load(section: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        notify_settings({"NOTIFY": section}, place="c")
