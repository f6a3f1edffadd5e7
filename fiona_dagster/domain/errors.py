"""Errors named for what happens next, so that a caller never has to read a message to decide.

    FionaError
    ├── ConfigurationError   a file or value the operator must mend; names the place and says what to do
    ├── Reject               an Association or SOP Instance refused at the door, with its DIMSE Status
    ├── Hold                 kept in the quarantine until a person decides; carries a reason without patient data
    ├── Transient            the other side may answer later: try again with back-off
    │   ├── Unreachable      nobody answers at its address
    │   └── Resting          it is left alone for a while: not even asked
    └── Permanent            trying again cannot help: stop and show it
        ├── Forbidden        a right that the project does not have
        └── NotOffered       a service that the other side does not have

No message of these classes may carry patient data: they reach logs, run pages and terminals.
"""

from __future__ import annotations


class FionaError(Exception):
    """Root of every error that the gateway raises on purpose."""


class ConfigurationError(FionaError):
    """A configuration that cannot be understood completely does not load."""

    def __init__(self, problem: str, *, place: str = "", remedy: str = "") -> None:
        self.problem, self.place, self.remedy = problem, place, remedy
        text = f"{place}: {problem}" if place else problem
        super().__init__(f"{text} — {remedy}" if remedy else text)


class Reject(FionaError):
    """Refused at reception with a DIMSE Status (see `domain.dimse_status`)."""

    def __init__(self, status: int, reason: str) -> None:
        self.status, self.reason = int(status), reason
        super().__init__(f"0x{int(status):04X} {reason}")


class Hold(FionaError):
    """Kept until a person decides. `reason` names the rule, never a value."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Transient(FionaError):
    """A peer is down, slow or busy; the same call may succeed later."""


class Unreachable(Transient):
    """Nobody answers at the peer's address, or nobody who speaks its protocol."""


class Resting(Transient):
    """A destination that failed is left alone until `until` (seconds since the epoch): it is not even asked."""

    def __init__(self, text: str, until: float) -> None:
        self.until = until
        super().__init__(text)


class Permanent(FionaError):
    """The same call will fail again."""


class Forbidden(Permanent):
    """The project does not hold the right to it."""


class NotOffered(Permanent):
    """The other side does not have the service, so that something else may do."""
