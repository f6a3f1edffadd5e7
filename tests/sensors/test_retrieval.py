"""A run for every source at which something is due, and none where one goes on; the run does the work."""

from __future__ import annotations

import time
from pathlib import Path

import dagster as dg
import pytest

from fiona_dagster.assets.retrieval import SOURCE_TAG
from fiona_dagster.definitions import defs
from fiona_dagster.embedded.samples import SampleStudy, write_samples
from fiona_dagster.resources.gateway import GatewayResource
from fiona_dagster.sensors.retrieval import retrievals
from tests.adapters.test_retrieval import house, uids


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SampleStudy]:
    return {study.name: study for study in write_samples(tmp_path_factory.mktemp("samples"))}


def test_a_run_a_source_is_requested_and_completes_the_study(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    study = samples["sr-report"]
    with house(tmp_path, [[study], []]) as two, dg.DagsterInstance.ephemeral() as instance:
        resource = GatewayResource(config_file=str(tmp_path / "config.json"))

        def tick() -> dg.SensorResult | dg.SkipReason:
            context = dg.build_sensor_context(instance=instance, resources={"gateway": resource})
            result = retrievals(context)
            assert isinstance(result, dg.SensorResult | dg.SkipReason)
            return result

        assert isinstance(tick(), dg.SkipReason)
        two.now = time.time() - 1
        two.ask(study)
        asked = tick()
        assert isinstance(asked, dg.SensorResult)
        assert [one.tags[SOURCE_TAG] for one in asked.run_requests or []] == [
            f"ABCD {one.peer}" for one in two.scanners
        ]
        request = (asked.run_requests or [])[0]
        assert study.study_instance_uid not in str(request)
        job = defs().resolve_job_def("retrieval_job")
        going = instance.create_run_for_job(job, tags=request.tags, status=dg.DagsterRunStatus.STARTED)
        again = tick()
        assert isinstance(again, dg.SensorResult)
        assert len(again.run_requests or []) == 1
        instance.delete_run(going.run_id)
        result = job.execute_in_process(
            instance=instance, run_config=request.run_config, resources={"gateway": resource}
        )
        two.recorded()
        assert result.success
        assert two.here(study) == uids(study)
        (event,) = result.asset_materializations_for_node("retrieved_studies")
        assert event.metadata["instances"].value == len(uids(study))
        assert study.study_instance_uid not in str(event)
