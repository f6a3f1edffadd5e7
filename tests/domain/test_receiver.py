from __future__ import annotations

from fiona_dagster.domain.access import AccessRules
from fiona_dagster.domain.receiver import ReceiverSettings, receiver_warnings

CLOSED, OPEN = ReceiverSettings(access=AccessRules(called=("FIONA",))), ReceiverSettings()


def test_a_further_site_that_inherits_no_access_is_named() -> None:
    receivers = {"ABCD": CLOSED, "open": OPEN, "closed": CLOSED}
    (inherited,) = receiver_warnings(receivers, "ABCD")
    assert inherited.startswith("SITES.open: ")
    assert receiver_warnings({**receivers, "ABCD": OPEN}, "ABCD") == [], "anybody may call the first one"
