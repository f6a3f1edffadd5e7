"""Switches that make the server fail as real ones do, for rehearsals and tests."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import replace
from enum import Enum
from typing import Any

from fiona_dagster.embedded.redcap.rights import User

BAD_GATEWAY_PAGE = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    "</body>\r\n</html>\r\n"
)
OUT_OF_MEMORY_PAGE = (
    "<br />\n<b>Fatal error</b>:  Allowed memory size exhausted<br />\n"
    '{"error":"REDCap ran out of server memory. The request cannot be processed."}'
)
BANNED_PAGE = (
    "<html><body>Your IP address has been banned from this server. Contact an administrator.</body></html>"
)


class Fault(Enum):
    """What happens to one call."""

    BAD_GATEWAY = "a proxy's 502 page; the call is not carried out"
    ANSWER_LOST = "the call is carried out, then a proxy answers with its 502 page"
    HTML_IN_200 = "PHP ran out of memory: HTML with status 200; the call is not carried out"


class Faults:
    """Shared by the server's threads and whoever holds the switches."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._upcoming: deque[Fault | None] = deque()
        self._calls: deque[float] = deque()
        self._banned = False
        self.delay_seconds = 0.0
        """Every answer comes this much later."""
        self.calls_per_minute: int | None = None
        """One call more within 60 s bans every caller until `lift_ban`."""

        self.removed_rights: dict[str, Any] = {}
        """Rights that every caller has lost: `{"api_import": 0}`, or `{"forms_export": {"series": 3}}`."""

    def restrict(self, user: User) -> User:
        """`user` with what is left of its rights."""
        lost = self.removed_rights
        if not lost:
            return user
        by_form: dict[str, Any] = {
            name: {**user.rights.get(name, {}), **lost[name]}
            for name in ("forms", "forms_export")
            if name in lost
        }
        return replace(user, rights={**user.rights, **lost, **by_form})

    def upcoming(self, *faults: Fault | None) -> None:
        """Let the next calls fail, one fault each; None lets one through."""
        with self._lock:
            self._upcoming.extend(faults)

    def lift_ban(self) -> None:
        """What an administrator does."""
        with self._lock:
            self._banned = False
            self._calls.clear()

    def admit(self) -> tuple[bool, Fault | None]:
        """Whether the caller is not banned, and what happens to this call."""
        with self._lock:
            now = time.monotonic()
            self._calls.append(now)
            while self._calls[0] < now - 60.0:
                self._calls.popleft()
            if self.calls_per_minute is not None and len(self._calls) > self.calls_per_minute:
                self._banned = True
            if self._banned:
                return False, None
            return True, self._upcoming.popleft() if self._upcoming else None
