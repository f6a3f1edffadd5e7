"""Where our errors become Dagster's: what can pass is retried, what cannot is not, and no message holds a value."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagster import Backoff, DagsterExecutionInterruptedError, Failure, Jitter, RetryPolicy, RetryRequested

from fiona_dagster.domain.errors import FionaError, Resting, Transient

NETWORK_RETRIES = RetryPolicy(max_retries=2, delay=2, backoff=Backoff.EXPONENTIAL, jitter=Jitter.PLUS_MINUS)
"""Short, within the run: for a peer that hiccups. A peer that is down is met again by the sensor's back-off."""


@contextmanager
def reporting_failures() -> Iterator[None]:
    """Turn every error of the body into a `dagster.Failure` whose text is safe to show."""
    try:
        yield
    except (Failure, RetryRequested, DagsterExecutionInterruptedError):
        raise
    except Resting as error:  # within this run nothing will change about it
        raise Failure(f"for now: {error}", allow_retries=False) from None
    except Transient as error:
        raise Failure(f"for now: {error}", allow_retries=True) from None
    except FionaError as error:
        raise Failure(str(error), allow_retries=False) from None
    except Exception as error:  # noqa: BLE001 — the reason is beside it
        # Broad on purpose: the event log keeps messages and tracebacks for ever, and those of the libraries below us
        # print values. The place in our code is enough to find the defect.
        raise Failure(f"unexpected {type(error).__name__} at {_place(error)}", allow_retries=True) from None


def _place(error: BaseException) -> str:
    ours = [f for f in traceback.extract_tb(error.__traceback__) if "fiona_dagster" in f.filename]
    if not ours:
        return "an unknown place"
    return " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(ours[-3:]))
