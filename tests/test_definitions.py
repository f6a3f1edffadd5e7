"""The code location loads as Dagster would load it, and its instances' configurations are real ones."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest
import yaml

from fiona_dagster.cli.dagster_home import LOCATION, end_lost_runs, instance_configuration, prepare_home
from fiona_dagster.definitions import defs
from tests.postgres import running_postgres

ROOT = Path(__file__).resolve().parents[1]
PHASES = {"intake", "transfer", "export"}
STUDY_JOBS = {"passage", *PHASES}
HOUSEKEEPING = {
    "four_accounts_job",
    "reconciliation_job",
    "disk_cleanup_job",
    "project_records_job",
    "retired_copies_job",
    "retired_partitions_job",
    "retrieval_job",
    "tended_packages_job",
    "told_people_job",
}


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return defs()


def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def test_the_definitions_load(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)


def test_every_asset_can_be_understood_from_the_catalogue(definitions: dg.Definitions) -> None:
    for name, spec in specs(definitions).items():
        assert spec.description, name
        assert spec.owners, name
        assert spec.kinds, name
        assert spec.group_name not in (None, "default"), name


def test_every_sensor_schedule_and_job_says_what_it_does(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    jobs = [repository.get_job(name) for name in STUDY_JOBS | HOUSEKEEPING]
    found = [*repository.sensor_defs, *repository.schedule_defs, *jobs]
    assert len(found) == 7 + 8 + 13
    assert [one.name for one in found if not (one.description or "").endswith(".")] == []


def test_the_chain_is_one_chain_and_housekeeping_has_no_partitions(definitions: dg.Definitions) -> None:
    found = specs(definitions)
    order = ["arrived_study", "classified_series", "incoming_record", "transfer_decision", "deidentified_copy",
             "research_pacs_copy", "outbox_package", "delivered_package"]  # fmt: skip
    for before, after in pairwise(order):
        assert before in {dep.asset_key.to_user_string() for dep in found[after].deps}
    partitioned = {name for name, spec in found.items() if spec.partitions_def is not None}
    assert partitioned == set(order)


def test_only_verification_blocks_and_it_blocks_with_every_check(definitions: dg.Definitions) -> None:
    from fiona_dagster.domain.verification import CHECKS

    checks = definitions.resolve_asset_graph().asset_check_keys
    blocking = {key.name for key in checks if definitions.resolve_asset_graph().get(key).blocking}
    assert blocking == set(CHECKS)


def test_every_job_runs_in_its_own_process_and_needs_no_configuration(definitions: dg.Definitions) -> None:
    jobs = {job.name: job for job in definitions.resolve_all_job_defs() if not job.name.startswith("__")}
    assert set(jobs) == STUDY_JOBS | HOUSEKEEPING
    for job in jobs.values():
        assert job.executor_def is dg.in_process_executor, job.name
        assert job.run_tags["fiona/phase"] in {*PHASES, "housekeeping"}
    assert all(jobs[name].partitions_def is not None for name in STUDY_JOBS)


def test_what_a_person_materialises_by_hand_is_in_process_too(definitions: dg.Definitions) -> None:
    assert definitions.executor is dg.in_process_executor


def test_everything_that_asks_for_runs_is_on_from_the_start(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    assert {one.name for one in repository.sensor_defs} == {
        "arrivals", "decisions", "late_decisions", "outbox", "heartbeat", "retrievals", "notices",
    }  # fmt: skip
    assert all(one.default_status == dg.DefaultSensorStatus.RUNNING for one in repository.sensor_defs)
    assert {one.job.name for one in repository.schedule_defs} == HOUSEKEEPING - {
        "retrieval_job",
        "told_people_job",
    }
    assert all(one.default_status == dg.DefaultScheduleStatus.RUNNING for one in repository.schedule_defs)


def test_the_location_is_called_the_same_everywhere() -> None:
    (entry,) = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    assert entry["python_module"] == {"module_name": "fiona_dagster.definitions", "location_name": LOCATION}
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    assert (project["code_location_name"], project["code_location_target_module"]) == (
        LOCATION,
        "fiona_dagster.definitions",
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "dagster"
    made.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(made))
    return made


def is_what_we_want(instance: dg.DagsterInstance) -> None:
    assert type(instance.run_coordinator).__name__ == "QueuedRunCoordinator"
    assert instance.run_coordinator.dequeue_use_threads  # type: ignore[attr-defined]
    assert type(instance.compute_log_manager).__name__ == "NoOpComputeLogManager"
    assert not instance.telemetry_enabled
    assert not instance.nux_enabled
    assert instance.run_monitoring_enabled
    assert instance.run_monitoring_max_runtime_seconds == 14400
    assert instance.run_retries_enabled
    assert instance.get_concurrency_config().run_queue_config.max_concurrent_runs >= 2  # type: ignore[union-attr]


def test_the_embedded_configuration_is_an_instance(home: Path) -> None:
    prepare_home(home)
    with dg.DagsterInstance.get() as instance:
        is_what_we_want(instance)
        assert instance.get_runs() == []


def test_a_sites_own_configuration_is_left_alone(home: Path) -> None:
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    prepare_home(home)
    assert (home / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


def test_the_production_configuration_is_an_instance_on_postgresql(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_postgres() as cluster:
        content = yaml.safe_load((ROOT / "deploy" / "dagster.yaml").read_text())
        content["storage"]["postgres"]["postgres_db"]["port"] = cluster.port
        (home / "dagster.yaml").write_text(yaml.safe_dump(content))
        facts = {"HOST": "127.0.0.1", "USER": "fiona", "PASSWORD": "not asked for", "DB": cluster.database()}
        for name, value in facts.items():
            monkeypatch.setenv(f"FIONA_PG_{name}", value)
        with dg.DagsterInstance.get() as instance:
            is_what_we_want(instance)
            result = dg.materialize([_asset()], instance=instance)
            assert result.success
            assert instance.get_run_by_id(result.run_id) is not None


def _asset() -> dg.AssetsDefinition:
    @dg.asset
    def one() -> None:
        """Nothing."""

    return one


def test_both_configurations_agree_on_all_but_sizes() -> None:
    """Whoever moves from the one to the other finds the same gateway."""
    embedded = instance_configuration(cores=2)
    production = yaml.safe_load((ROOT / "deploy" / "dagster.yaml").read_text())
    assert set(production) - set(embedded) == {"storage"}
    assert set(embedded) <= set(production)
    for name in ("telemetry", "nux", "compute_logs", "run_retries"):
        assert embedded[name] == production[name], name
    assert embedded["run_monitoring"] == production["run_monitoring"]


def test_runs_that_a_crash_left_unfinished_are_closed_and_those_to_come_kept(home: Path) -> None:
    before = os.environ["DAGSTER_HOME"]
    prepare_home(home)
    with dg.DagsterInstance.get() as instance:
        for name, status in (
            ("lost", dg.DagsterRunStatus.STARTED),
            ("to come", dg.DagsterRunStatus.NOT_STARTED),
        ):
            instance.add_run(dg.DagsterRun("intake", run_id=name, status=status))
    assert end_lost_runs(home) == 1
    assert os.environ["DAGSTER_HOME"] == before
    with dg.DagsterInstance.get() as instance:
        assert {run.run_id: run.status for run in instance.get_runs()} == {
            "lost": dg.DagsterRunStatus.FAILURE,
            "to come": dg.DagsterRunStatus.NOT_STARTED,
        }
