"""From work to run requests, against a real instance: what was run before decides what is asked for now."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from fiona_dagster.assets.partitions import STUDIES
from fiona_dagster.domain.identifiers import StudyKey
from fiona_dagster.domain.phases import BACK_OFF_SECONDS, PASSAGE, Due, Phase
from fiona_dagster.resources.gateway import GatewayResource
from fiona_dagster.sensors.decisions import late_decisions
from fiona_dagster.sensors.requests import NEWEST_RUNS, RUNS_PER_TICK, requests_for
from tests.conftest import free_port

FAILED, SUCCESS = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def due(work: str = "1", phase: Phase = Phase.TRANSFER, number: int = 0) -> Due:
    return Due(StudyKey(f"20270115-{number:012x}"), phase, work)


def ran(
    instance: dg.DagsterInstance, one: Due, status: dg.DagsterRunStatus, times: int = 1, job: str = ""
) -> None:
    """Runs as the daemon would have launched them, that ended now."""
    for _ in range(times):
        run = dg.DagsterRun(
            job or one.phase.value,
            run_id=secrets.token_hex(16),
            status=dg.DagsterRunStatus.NOT_STARTED,
            tags={**one.tags, "dagster/partition": one.key},
        )
        instance.add_run(run)
        if status == FAILED:
            instance.report_run_failed(run, "failed")
        elif status == SUCCESS:
            instance.handle_run_event(run.run_id, _success(run))


def _success(run: dg.DagsterRun) -> dg.DagsterEvent:
    return dg.DagsterEvent("PIPELINE_SUCCESS", run.job_name)


def asked(work: list[Due], instance: dg.DagsterInstance, *, later: float = 0.0) -> list[str | None]:
    result = requests_for(work, instance, now=time.time() + later)
    return [one.run_key for one in result.run_requests or []] if isinstance(result, dg.SensorResult) else []


def test_work_that_nobody_did_is_asked_for_with_its_key_and_tags(instance: dg.DagsterInstance) -> None:
    result = requests_for([due()], instance, now=time.time())
    assert isinstance(result, dg.SensorResult)
    (request,) = result.run_requests or []
    assert request.run_key == "20270115-000000000000:transfer:1:0"
    assert request.partition_key == due().key
    assert due().tags.items() <= request.tags.items()


@pytest.mark.parametrize("work", ["1", "another"])
def test_nothing_is_asked_for_while_a_run_of_the_phase_goes_on(
    instance: dg.DagsterInstance, work: str
) -> None:
    ran(instance, due(work), dg.DagsterRunStatus.NOT_STARTED)
    assert asked([due()], instance, later=1e6) == []
    assert asked([due(phase=Phase.EXPORT)], instance) != []
    said = requests_for([due()], instance, now=time.time())
    assert isinstance(said, dg.SkipReason)
    assert "in progress" in str(said.skip_message)


@pytest.mark.parametrize("status", [FAILED, SUCCESS])
def test_work_that_a_run_left_undone_is_asked_for_after_a_pause_that_grows(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus
) -> None:
    ran(instance, due(), status)
    assert asked([due()], instance, later=BACK_OFF_SECONDS[0] - 5) == []
    assert asked([due()], instance, later=BACK_OFF_SECONDS[0] + 5) == ["20270115-000000000000:transfer:1:1"]
    ran(instance, due(), status)
    assert asked([due()], instance, later=BACK_OFF_SECONDS[1] - 5) == []
    assert asked([due()], instance, later=BACK_OFF_SECONDS[1] + 5) == ["20270115-000000000000:transfer:1:2"]


def test_dagsters_own_repetitions_of_a_lost_run_do_not_use_up_the_back_off(
    instance: dg.DagsterInstance,
) -> None:
    ran(instance, due(), FAILED)
    (lost,) = instance.get_runs()
    for name in ("again", "and again"):
        instance.add_run(
            dg.DagsterRun(
                lost.job_name, run_id=name, tags=lost.tags, parent_run_id=lost.run_id, root_run_id=lost.run_id
            )
        )
        assert asked([due()], instance, later=1e6) == []
        instance.report_run_failed(instance.get_runs()[0], "failed")
    assert asked([due()], instance, later=BACK_OFF_SECONDS[0] - 5) == []
    assert asked([due()], instance, later=BACK_OFF_SECONDS[0] + 5) == ["20270115-000000000000:transfer:1:3"]


def first(number: int = 0) -> Due:
    return replace(due("1", Phase.INTAKE, number), is_first=True)


def test_a_new_study_goes_through_all_phases_in_one_run_and_later_work_through_its_own(
    instance: dg.DagsterInstance,
) -> None:
    work = [first(1), due("2", Phase.INTAKE, 2), due("1", Phase.TRANSFER, 3), due("1.0", Phase.EXPORT, 4)]
    result = requests_for(work, instance, now=time.time())
    assert isinstance(result, dg.SensorResult)
    assert [one.job_name for one in result.run_requests or []] == [PASSAGE, "intake", "transfer", "export"]


@pytest.mark.parametrize("phase", Phase)
def test_a_passage_and_any_other_run_of_its_study_wait_for_each_other(
    instance: dg.DagsterInstance, phase: Phase
) -> None:
    ran(instance, first(), dg.DagsterRunStatus.NOT_STARTED, job=PASSAGE)
    assert asked([due("1.0", phase)], instance, later=1e6) == []
    assert asked([due("1.0", phase, number=1)], instance) != []
    (passage,) = instance.get_runs()
    instance.report_run_failed(passage, "failed")
    assert asked([first()], instance, later=1e6) != []
    ran(instance, due("1.0", phase), dg.DagsterRunStatus.NOT_STARTED)
    assert asked([first()], instance, later=1e6) == []


@pytest.mark.parametrize("phase", [Phase.TRANSFER, Phase.EXPORT])
def test_what_a_passage_left_undone_is_asked_for_after_the_first_pause(
    instance: dg.DagsterInstance, phase: Phase
) -> None:
    ran(instance, first(), FAILED, times=3, job=PASSAGE)
    left = due("1.0", phase)
    assert asked([left], instance, later=BACK_OFF_SECONDS[0] - 5) == []
    assert asked([left], instance, later=BACK_OFF_SECONDS[0] + 5) == [f"{left.key}:{phase.value}:1.0:0"]


def test_while_enough_is_queued_no_more_is_asked_for(instance: dg.DagsterInstance) -> None:
    work = [first(number) for number in range(RUNS_PER_TICK + 10)]
    for one in work[: RUNS_PER_TICK - 2]:
        ran(instance, one, dg.DagsterRunStatus.NOT_STARTED, job=PASSAGE)
    assert asked(work, instance) == [
        f"{one.key}:intake:1:0" for one in work[RUNS_PER_TICK - 2 : RUNS_PER_TICK]
    ]
    for one in work[RUNS_PER_TICK - 2 : RUNS_PER_TICK]:
        ran(instance, one, dg.DagsterRunStatus.NOT_STARTED, job=PASSAGE)
    assert asked(work, instance) == []


def test_new_work_does_not_wait_for_what_old_work_did(instance: dg.DagsterInstance) -> None:
    ran(instance, due("1"), FAILED, times=3)
    assert asked([due("2")], instance) == ["20270115-000000000000:transfer:2:0"]


def test_a_run_key_is_never_used_twice_however_often_a_run_failed(instance: dg.DagsterInstance) -> None:
    times = NEWEST_RUNS + 3
    ran(instance, due(), FAILED, times=times)
    assert asked([due()], instance, later=BACK_OFF_SECONDS[-1] + 5) == [
        f"20270115-000000000000:transfer:1:{times}"
    ]


def test_a_tick_asks_for_fifty_runs_at_most_the_oldest_first(instance: dg.DagsterInstance) -> None:
    work = [due(number=number) for number in range(RUNS_PER_TICK + 10)]
    keys = asked(work, instance)
    assert keys == [f"{one.key}:transfer:1:0" for one in work[:RUNS_PER_TICK]]
    assert RUNS_PER_TICK == 50


def test_what_waits_takes_no_place_of_what_is_due(instance: dg.DagsterInstance) -> None:
    ran(instance, due(number=1), FAILED)
    assert asked([due(number=1), due(number=2)], instance) == ["20270115-000000000002:transfer:1:0"]


def test_keys_are_added_once_and_only_new_ones(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions(str(STUDIES.name), [due(number=1).key])
    work = [due(number=1), due(number=2), due("2", number=2)]
    result = requests_for(work, instance, now=time.time())
    assert isinstance(result, dg.SensorResult)
    (added,) = result.dynamic_partitions_requests or []
    assert list(added.partition_keys) == [due(number=2).key]
    instance.add_dynamic_partitions(str(STUDIES.name), [due(number=2).key])
    again = requests_for(work, instance, now=time.time())
    assert isinstance(again, dg.SensorResult)
    assert not again.dynamic_partitions_requests


def test_nothing_to_do_is_said_so(instance: dg.DagsterInstance) -> None:
    said = requests_for([], instance, now=time.time())
    assert isinstance(said, dg.SkipReason)
    assert said.skip_message == "nothing to do"


def test_the_sensor_of_late_decisions_survives_a_redcap_that_is_down(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("A" * 32)
    roles = ("Incoming", "CouplingList", "Routing", "DataTransferProjects")
    redcap = {
        "url": f"http://127.0.0.1:{free_port()}/api/",
        "tokens": dict.fromkeys(roles, f"file:{tmp_path}/token"),
    }
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"DATADIR": str(tmp_path / "data"), "REDCAP": redcap}))
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(
            instance=instance, resources={"gateway": GatewayResource(config_file=str(config))}
        )
        result = late_decisions(context)
    assert isinstance(result, dg.SkipReason)
    assert "REDCap could not be asked" in str(result.skip_message)
