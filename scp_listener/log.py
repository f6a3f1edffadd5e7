"""Log lines of the listener, in FIONA's shape, to stderr: `YYYY-mm-dd HH:MM:SS.ffffff: [scp_listener] text`.

No patient data and no UIDs of originals: counts, Statuses and names of error classes only. The libraries' own logs
and warnings print values, so they are silent, and an uncaught exception shows its class alone.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from datetime import datetime

LOG = logging.getLogger("scp_listener")


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).astimezone()
        return f"{when:%Y-%m-%d %H:%M:%S.%f}: [scp_listener] {record.getMessage()}"


def configure() -> None:
    """Set up logging for the process of a listener."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    LOG.handlers[:] = [handler]
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    for library in ("pynetdicom", "pydicom", "uvicorn", "uvicorn.error", "asyncio", "python_multipart"):
        quiet = logging.getLogger(library)
        quiet.handlers[:] = [logging.NullHandler()]
        quiet.propagate = False
        quiet.setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore")
    threading.excepthook = _uncaught


def _uncaught(arguments: threading.ExceptHookArgs) -> None:
    LOG.error("a thread ended on %s", arguments.exc_type.__name__)
