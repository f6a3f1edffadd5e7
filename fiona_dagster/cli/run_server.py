"""The process that runs are forked from (code_server.py): what every run needs is loaded here, once.

Modules and definitions only. No configuration is read, no ledger or connection is opened and no thread is left: each
run reads config.json anew, as a process of its own.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import signal
import sys
import tempfile
import warnings
from contextlib import suppress

from fiona_dagster.cli.kept_engines import keep_engines

LOADED_BY_STAGES = (
    "fiona_dagster.adapters.arrival_sources",
    "fiona_dagster.adapters.classification",
    "fiona_dagster.adapters.configuration",
    "fiona_dagster.adapters.destinations",
    "fiona_dagster.adapters.dicom_headers",
    "fiona_dagster.adapters.forwarding",
    "fiona_dagster.adapters.image_peers",
    "fiona_dagster.adapters.imaging_values",
    "fiona_dagster.adapters.keyring",
    "fiona_dagster.adapters.packages",
    "fiona_dagster.adapters.redcap.auto_ids",
    "fiona_dagster.adapters.redcap.demographics",
    "fiona_dagster.adapters.redcap.registry",
    "fiona_dagster.adapters.redcap.research_project",
    "fiona_dagster.adapters.releases",
    "fiona_dagster.adapters.signing",
    "fiona_dagster.adapters.stale_copies",
    "paramiko",
    "pynetdicom",
    "dagster._grpc.impl",
)
"""What the stages of a study import when they are at work: each would cost every run again."""
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, linux/prctl.h


def warm_up() -> None:
    """Load all of it; what cannot be loaded is left to the run that needs it, which says so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the code server has said it
        for name in LOADED_BY_STAGES:
            _load(name)
        _build_definitions()
        _try_a_run()
    gc.collect()
    gc.freeze()  # what is shared stays shared: the collector of a run does not touch it


def _load(name: str) -> None:
    with suppress(Exception):  # a run that needs it will meet the same, and report it
        importlib.import_module(name)


def _build_definitions() -> None:
    with suppress(Exception):  # the code server itself does not start with such definitions
        from fiona_dagster.definitions import defs

        defs().get_repository_def().load_all_definitions()


def _try_a_run() -> None:
    """One run of nothing, on a storage of its own: Dagster imports much of itself at work only."""
    with suppress(Exception):
        import dagster as dg

        @dg.asset
        def nothing() -> None:
            """Nothing."""

        silent = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        plain = {"telemetry": {"enabled": False}}
        with (
            tempfile.TemporaryDirectory() as folder,
            dg.DagsterInstance.local_temp(folder, overrides=plain) as instance,
        ):
            dg.materialize([nothing], instance=instance, run_config=silent)


def become_run_server() -> None:
    """Make this process fit to fork runs from."""
    keep_engines()
    warm_up()
    server = os.getpid()
    os.register_at_fork(after_in_child=lambda: end_with(server))


def end_with(server: int) -> None:
    """In a run: end when the process `server` does. Dagster takes its runs for dead then, and asks for them again; one
    that went on would be at work twice.
    """
    if sys.platform == "linux" and os.getppid() == server:
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != server:
            os._exit(1)
