"""What Dagster's SQLite storage makes anew for every query is made once a process: engines and its own migrations.

Dagster 1.13 creates an engine for each connection, whose cache of compiled statements is therefore always cold, and
reads all migration scripts for each storage that it opens: half of the code server's CPU, a third of a run's and of
the daemon's (docs/adr/0026). An engine without a pool holds no connection, so that keeping it keeps nothing open.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, NullPool, Pool, create_engine

_STORAGES = (
    "dagster._core.storage.event_log.sqlite.sqlite_event_log",
    "dagster._core.storage.runs.sqlite.sqlite_run_storage",
    "dagster._core.storage.schedules.sqlite.sqlite_schedule_storage",
)
_MIGRATIONS = ("dagster._core.storage.sql", "alembic.command")
_ENGINES = 32
"""Runs have a file each: those that are at work, and the three of the instance."""


def keep_engines() -> None:
    """Let this process keep them; doing it again changes nothing.

    Which names these modules use is private to Dagster, whose version is bound in pyproject.toml. Where one is not
    found any more, all is made anew as Dagster does it, which costs time alone; that is said in the log.
    """
    for name in _STORAGES:
        _replace(import_module(name), "create_engine", _kept_engine)
    for name in _MIGRATIONS:
        _replace(import_module(name), "ScriptDirectory", _KeptScripts)


def _replace(module: ModuleType, name: str, kept: Any) -> None:
    if hasattr(module, name):
        setattr(module, name, kept)
    else:
        logging.getLogger("dagster.storage").warning(
            "%s is not kept: this version of Dagster makes it in another way", name
        )


class _KeptScripts(ScriptDirectory):
    @classmethod
    def from_config(cls, config: Config) -> ScriptDirectory:
        location = str(config.get_main_option("script_location"))
        if location not in _scripts:
            _scripts[location] = ScriptDirectory.from_config(config)
        return _scripts[location]


_scripts: dict[str, ScriptDirectory] = {}


def _kept_engine(url: str, *, poolclass: type[Pool], connect_args: Mapping[str, Any] | None = None) -> Engine:
    if poolclass is not NullPool:  # it would hold connections
        return create_engine(url, poolclass=poolclass, connect_args=dict(connect_args or {}))
    return _engine(url, tuple(sorted((connect_args or {}).items())))


@lru_cache(maxsize=_ENGINES)
def _engine(url: str, connect_args: tuple[tuple[str, Any], ...]) -> Engine:
    return create_engine(url, poolclass=NullPool, connect_args=dict(connect_args))
