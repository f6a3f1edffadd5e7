"""What `fiona status` and `fiona find` say of studies that wait or went on incomplete, and of commitments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger import Ledger
    from fiona_dagster.domain.arrival import Completes, Shortfall, StudyActivity, Waits
    from fiona_dagster.settings import Settings


def arrival_facts(ledger: Ledger, settings: Settings) -> dict[str, Any]:
    """Incomplete studies, those that wait and those that went on, and commitments; counts only, ready for JSON."""
    from fiona_dagster.domain.arrival import Waits

    waiting = [
        {"study": one.key, "reason": found.reason, "series": _series(one.announced.shortfalls)}
        for one in ledger.studies.arriving()
        if isinstance(found := _decided(one, settings), Waits) and found.incomplete
    ]
    went_on = [
        {"study": one.key, "revision": one.revision, "reason": one.because, "series": _series(one.shortfalls)}
        for one in ledger.arrivals.incomplete()
    ]
    undelivered = [
        {
            "requester": one.calling_ae,
            "state": one.state.value,
            "attempts": one.attempts,
            "problem": one.problem,
        }
        for one in ledger.commitments.undelivered_reports()
    ]
    return {
        "incomplete_studies": {"waiting": waiting, "went_on": went_on},
        "commitments": {"requests": ledger.commitments.totals(), "undelivered": undelivered},
    }


def arrival_lines(facts: dict[str, Any]) -> Iterator[str]:
    """The same, for people."""
    for name, title in (("waiting", "waits, incomplete"), ("went_on", "went on incomplete")):
        for one in facts["incomplete_studies"][name]:
            yield f"{one['study']} {title}: {one['reason']}{_counts(one['series'])}"
    requests = facts["commitments"]["requests"]
    if requests:
        counts = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in sorted(requests.items()))
        yield f"storage commitments: {counts}"
    for one in facts["commitments"]["undelivered"]:
        state = "given up" if one["state"] == "given_up" else "to be sent again"
        yield f"  {one['requester']}: report {state} after {one['attempts']} attempts: {one['problem']}"


def where_it_stands(ledger: Ledger, settings: Settings, key: str) -> str:
    """Why a study that is arriving is not there yet; '' where it is not arriving."""
    from fiona_dagster.domain.arrival import Waits

    for one in ledger.studies.arriving():
        if one.key == key:
            found = _decided(one, settings)
            if not isinstance(found, Waits):
                return "arriving"
            series = _counts(_series(one.announced.shortfalls)) if found.incomplete else ""
            return f"arriving: {found.reason}{series}"
    return ""


def what_is_missing(ledger: Ledger) -> dict[str, str]:
    """What studies lack that went on incomplete, by study key."""
    return {
        one.key: f"incomplete: {one.because}{_counts(_series(one.shortfalls))}"
        for one in ledger.arrivals.incomplete()
    }


def _decided(activity: StudyActivity, settings: Settings) -> Waits | Completes | None:
    from fiona_dagster.adapters.clock import moment
    from fiona_dagster.domain.arrival import arrival_of

    for site in settings.sites:
        if site.name == activity.site:
            return arrival_of(
                activity,
                now=moment(),
                quiet_seconds=site.quiet_seconds,
                patience_seconds=site.patience_seconds,
            )
    return None


def _counts(series: Sequence[dict[str, Any]]) -> str:
    told = "; ".join(f"{one['modality']} {one['received']} of {one['expected']}" for one in series)
    return f" ({told})" if told else ""


def _series(shortfalls: Sequence[Shortfall]) -> list[dict[str, Any]]:
    return [
        {"modality": one.modality or "all series", "expected": one.expected, "received": one.received}
        for one in shortfalls
    ]
