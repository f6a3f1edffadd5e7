"""Errors become failures that say what is to be done, and show no value."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from fiona_dagster.assets.failures import reporting_failures
from fiona_dagster.domain.errors import ConfigurationError, FionaError, Hold, Permanent, Reject, Transient

NAME = "Hansen^Åse"


def failure_of(error: BaseException) -> dg.Failure:
    with pytest.raises(dg.Failure) as caught, reporting_failures():
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("error", "retries"),
    [
        (Transient("the PACS does not answer"), True),
        (Permanent("the file is gone"), False),
        (Hold("pixels may carry text"), False),
        (Reject(0xC000, "cannot be understood"), False),
        (ConfigurationError("no PACS", place="config.json", remedy="name one"), False),
        (FionaError("of another kind"), False),
    ],
)
def test_our_errors_keep_their_text_and_only_what_can_pass_is_retried(
    error: FionaError, retries: bool
) -> None:
    failure = failure_of(error)
    assert str(error) in str(failure.description)
    assert failure.allow_retries == retries


def test_an_error_of_a_library_is_told_by_its_class_and_place_alone() -> None:
    from pydicom.dataset import Dataset

    from fiona_dagster.domain.identifiers import is_valid_uid

    try:
        is_valid_uid(Dataset())  # type: ignore[arg-type]
    except TypeError as error:
        failure = failure_of(error)
    assert str(failure.description).startswith("unexpected TypeError at identifiers.py:")
    assert "is_valid_uid" in str(failure.description)
    assert failure.allow_retries


def test_a_value_in_an_error_stands_neither_in_the_text_nor_in_what_dagster_keeps() -> None:
    failure = failure_of(ValueError(f"cannot write {NAME}"))
    assert NAME not in str(failure.description)
    assert failure.__suppress_context__
    assert failure.__cause__ is None


def test_what_dagster_itself_raises_passes_unchanged() -> None:
    for one in (dg.Failure("said already"), dg.RetryRequested(max_retries=1)):
        with pytest.raises(type(one)) as caught, reporting_failures():
            raise one
        assert caught.value is one


def test_an_interruption_is_no_failure() -> None:
    with pytest.raises(KeyboardInterrupt), reporting_failures():
        raise KeyboardInterrupt


def test_no_record_of_a_run_holds_a_value_from_an_error_nor_the_error_it_came_from(tmp_path: Path) -> None:
    @dg.asset
    def broken() -> None:
        with reporting_failures():
            try:
                (tmp_path / NAME).read_bytes()
            except OSError:
                raise ValueError(f"{NAME} has no birth date") from None

    @dg.asset
    def chained() -> None:
        with reporting_failures():
            try:
                raise KeyError(NAME)
            except KeyError as error:
                raise Permanent("one instance cannot be read") from error

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([broken, chained], instance=instance, raise_on_error=False)
        assert not result.success
        records = "\n".join(str(log) for log in instance.all_logs(result.run_id))
    assert "unexpected ValueError" in records
    assert "one instance cannot be read" in records
    assert "Hansen" not in records
