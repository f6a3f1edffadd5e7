from fiona_dagster.domain.arrival import ArrivedStudy, StudyActivity, waits_for
from fiona_dagster.domain.identifiers import StudyKey

KEY = StudyKey("20270115-0123456789ab")


def activity(**changes: object) -> StudyActivity:
    values = {"key": KEY, "site": "ABCD", "revision": 0, "instance_count": 3, "arrived_count": 0,
              "last_received_at": 100.0, "open_associations": 0}  # fmt: skip
    return StudyActivity(**{**values, **changes})  # type: ignore[arg-type]


def test_a_study_arrives_after_the_quiet_period() -> None:
    assert waits_for(activity(), now=116.0, quiet_seconds=16) is None


def test_a_study_that_is_not_quiet_waits() -> None:
    assert waits_for(activity(), now=115.9, quiet_seconds=16) == "quiet for 16 s of 16 s"


def test_an_open_association_that_carries_the_study_keeps_it_waiting_however_quiet_it_is() -> None:
    assert "open Association" in str(waits_for(activity(open_associations=1), now=9999.0, quiet_seconds=16))


def test_a_clock_that_was_set_back_is_not_quiet() -> None:
    assert waits_for(activity(last_received_at=5000.0), now=100.0, quiet_seconds=16) is not None


def test_late_images_reopen_a_study_and_nothing_new_does_not() -> None:
    assert waits_for(activity(arrived_count=2, revision=1), now=200.0, quiet_seconds=16) is None
    assert waits_for(activity(arrived_count=3, revision=1), now=200.0, quiet_seconds=16) is not None


def test_what_the_source_has_more_is_missing() -> None:
    assert ArrivedStudy(KEY, "ABCD", 1, 3, expected=5).missing == 2
    assert ArrivedStudy(KEY, "ABCD", 1, 3, expected=None).missing == 0
    assert ArrivedStudy(KEY, "ABCD", 1, 6, expected=5).missing == 0
    assert ArrivedStudy(KEY, "ABCD", 2, 6).is_late_addition
