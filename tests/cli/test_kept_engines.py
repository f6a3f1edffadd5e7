"""Dagster's SQLite storage with engines and migrations kept: the same answers, fewer things made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from fiona_dagster.cli.kept_engines import _MIGRATIONS, _STORAGES

RUNS = """
import json, sys
import alembic.script, sqlalchemy
from importlib import import_module
from fiona_dagster.cli.kept_engines import _MIGRATIONS, _STORAGES, _engine, keep_engines

if sys.argv[2] == "kept":
    keep_engines()
made = {"engines": 0, "scripts": 0}

def counted(name, function):
    def call(*given, **options):
        made[name] += 1
        return function(*given, **options)
    return call

plain = sqlalchemy.Engine.__init__
sqlalchemy.Engine.__init__ = counted("engines", plain)
alembic.script.ScriptDirectory._load_revisions = counted("scripts", alembic.script.ScriptDirectory._load_revisions)

import dagster as dg

partitions = dg.DynamicPartitionsDefinition(name="studies")

@dg.asset(partitions_def=partitions)
def one() -> None: ...

@dg.asset(partitions_def=partitions, deps=[one])
def two() -> None: ...

@dg.asset_check(asset=two)
def right() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)

with dg.DagsterInstance.local_temp(sys.argv[1]) as instance:
    instance.add_dynamic_partitions("studies", ["a", "b"])
    for key in ("a", "b"):
        assert dg.materialize([one, two, right], instance=instance, partition_key=key).success
    found = {
        "runs": sorted(run.status.value for run in instance.get_runs()),
        "events": [len(instance.all_logs(run.run_id)) for run in instance.get_runs()],
        "materialized": sorted(instance.get_materialized_partitions(dg.AssetKey("two"))),
    }
print(json.dumps([found, made]))
"""


def outcome(folder: Path, way: str) -> tuple[dict[str, object], dict[str, int]]:
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", RUNS, str(folder), way],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "DAGSTER_HOME": "", "DAGSTER_DISABLE_TELEMETRY": "yes"},
    )
    assert done.returncode == 0, done.stderr
    found, made = json.loads(done.stdout.splitlines()[-1])
    return found, made


def test_a_run_leaves_the_same_behind_and_makes_an_engine_a_file(tmp_path: Path) -> None:
    stock, made_by_stock = outcome(tmp_path / "stock", "stock")
    kept, made = outcome(tmp_path / "kept", "kept")
    assert kept == stock
    assert kept["materialized"] == ["a", "b"]
    files = len(list((tmp_path / "kept").rglob("*.db")))
    assert made == {"engines": files, "scripts": 1}
    assert made_by_stock["engines"] > 10 * files
    assert made_by_stock["scripts"] > files


@pytest.mark.parametrize(
    ("module", "name"),
    [*((one, "create_engine") for one in _STORAGES), *((one, "ScriptDirectory") for one in _MIGRATIONS)],
)
def test_dagster_has_what_is_replaced(module: str, name: str) -> None:
    assert callable(getattr(import_module(module), name))
