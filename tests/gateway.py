"""A gateway in a temporary folder, with the hospital around it: real servers on loopback, the chain run in-process."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import dagster as dg
from sqlalchemy import func, select

from fiona_dagster.adapters.dicom_scu import send
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.schema import association
from fiona_dagster.adapters.ledger.studies import StudyRecord
from fiona_dagster.adapters.redcap.provision import provision
from fiona_dagster.adapters.redcap.rate_limit import RateLimit
from fiona_dagster.assets.partitions import STUDIES
from fiona_dagster.domain.phases import Phase
from fiona_dagster.embedded.pacs import EmbeddedPacs
from fiona_dagster.embedded.redcap.hospital import prepare_hospital
from fiona_dagster.embedded.redcap.server import RedcapServer
from fiona_dagster.embedded.samples import SampleStudy, write_samples
from fiona_dagster.embedded.sftp import EmbeddedSftp
from fiona_dagster.resources.gateway import GatewayResource
from fiona_dagster.sensors.arrival import intake_due
from fiona_dagster.sensors.decisions import late_decisions_due, transfers_due
from fiona_dagster.sensors.outbox import exports_due
from fiona_dagster.settings import DicomPeer, Settings, Site, load_settings
from scp_listener.server import Listener
from tests.scp_listener.conftest import wait_for

SECRET = "correct horse battery"
TODAY = time.strftime("%Y-%m-%d 00:01")
"""When coupling entries were made: they expire."""


@dataclass
class Gateway:
    """What a test does with a gateway: land files, run phases as the sensors would, look at the ledger."""

    folder: Path
    settings: Settings
    config_file: Path
    pacs: EmbeddedPacs
    sftp: EmbeddedSftp
    redcap: RedcapServer
    tokens: dict[str, str]
    samples: dict[str, SampleStudy]
    port: int
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)

    @property
    def ledger(self) -> Ledger:
        return self.resource.ledger

    @property
    def site(self) -> Site:
        return self.settings.default_site

    @cached_property
    def resource(self) -> GatewayResource:
        return GatewayResource(config_file=str(self.config_file))

    def send(self, *paths: Path, calling: str = "SCANNER") -> None:
        """Send files to the gateway's receiver, and wait until everything about the Association is recorded."""
        before = self._closed_associations()
        send(paths, DicomPeer(self.site.ae_title, "127.0.0.1", self.port), calling)
        wait_for(lambda: self._closed_associations() > before, 20, lambda: "the Association was not recorded")

    def receive(self, name: str) -> StudyRecord:
        """Send what a sample study has on time; returns the study."""
        sample = self.samples[name]
        self.send(*sample.files)
        return self.study(name)

    def study(self, name: str) -> StudyRecord:
        """The study that a sample became."""
        return self.ledger.studies.find(self.samples[name].study_instance_uid)[0]

    def _closed_associations(self) -> int:
        with self.ledger.read() as connection:
            closed = select(func.count()).select_from(association).where(association.c.closed_at.is_not(None))
            return int(connection.execute(closed).scalar_one())

    def run(self, phase: Phase, key: str, *, succeeds: bool = True) -> dg.ExecuteInProcessResult:
        """Run a phase of a study, as a run of the daemon would."""
        from fiona_dagster.definitions import defs

        if not self.instance.has_dynamic_partition(str(STUDIES.name), key):
            self.instance.add_dynamic_partitions(str(STUDIES.name), [key])
        job = defs().resolve_job_def(phase.value)
        result = job.execute_in_process(
            partition_key=key,
            instance=self.instance,
            resources={"gateway": self.resource},
            raise_on_error=False,
        )
        assert result.success == succeeds, failures(result)
        return result

    def settle(self) -> None:
        """Run what the sensors would request, until nothing is due; a failing phase fails the test."""
        for _ in range(20):
            due = [*intake_due(self.resource), *transfers_due(self.resource), *exports_due(self.resource)]
            if not due:
                return
            for one in due:
                self.run(one.phase, one.key)
        raise AssertionError(f"work is never done: {due}")

    def late_decisions(self) -> list[str]:
        return [one.key for one in late_decisions_due(self.resource)]


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    """What failed steps said."""
    found = []
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            said = data.user_failure_data.description if data.user_failure_data else str(data.error)
            found.append(f"{event.step_key}: {said}")
    return found


@cache
def _kept_folder() -> Path:
    """Of this process, for what is made once and copied for each test."""
    folder = Path(tempfile.mkdtemp(prefix="fiona-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _provisioned() -> Path:
    """The files of a REDCap that has the gateway's projects."""
    folder = _kept_folder() / "provisioned"
    with RedcapServer(folder / "redcap" / "redcap.sqlite") as server:
        calls = RateLimit(folder / ".calls", 60_000)
        provision(server.url, server.super_token, folder / "tokens", calls)
    return folder


@cache
def _written_samples() -> tuple[SampleStudy, ...]:
    return write_samples(_kept_folder() / "samples")


def sample_studies(folder: Path) -> list[SampleStudy]:
    """The sample studies, as `write_samples` writes them into `folder`."""
    written = _written_samples()
    source = _kept_folder() / "samples"
    shutil.copytree(source, folder)
    return [
        replace(
            one,
            **{
                name: tuple(folder / path.relative_to(source) for path in getattr(one, name))
                for name in ("files", "late", "corrupt", "other_content")
            },
        )
        for one in written
    ]


@contextmanager
def running_gateway(folder: Path, **config: Any) -> Iterator[Gateway]:
    """A gateway whose quiet time is over at once, with REDCap, research PACS and SFTP server beside it."""
    with ExitStack() as stack:
        shutil.copytree(_provisioned(), folder, dirs_exist_ok=True)
        redcap = stack.enter_context(RedcapServer(folder / "redcap" / "redcap.sqlite"))
        pacs = stack.enter_context(EmbeddedPacs(folder / "pacs"))
        (folder / "sftp" / "incoming").mkdir(parents=True)
        sftp = stack.enter_context(EmbeddedSftp(folder / "sftp", users={"lab": SECRET}))
        (folder / "known_hosts").write_text(sftp.known_hosts + "\n")
        (folder / "secret").write_text(SECRET)
        samples = {one.name: one for one in sample_studies(folder / "samples")}
        destination = {
            "dest_name": "lab", "dest_url": f"sftp://lab@127.0.0.1:{sftp.port}/incoming", "dest_type": "3",
            "dest_secret_ref": f"file:{folder / 'secret'}", "dest_known_hosts": str(folder / "known_hosts"),
        }  # fmt: skip
        hospital = prepare_hospital(
            redcap.url,
            redcap.super_token,
            folder / "tokens",
            projects=[
                {"project_name": "BRAINAGE", "project_patient_naming": r"BA-\d{3}", "destinations": [destination]},
                {"project_name": "HEART", "project_patient_naming": r"H\d+", "project_features___1": "1"},
            ],
            coupling=[
                {"cl_accessionnumber": one.accession_number, "cl_projectname": "BRAINAGE",
                 "cl_subjectid": f"BA-{number:03d}", "cl_eventname": "Baseline", "cl_date": TODAY}
                for number, one in enumerate(samples.values(), start=1) if one.coupled
            ],
        )  # fmt: skip
        config_file = folder / "data" / "config" / "config.json"
        content = {
            "DATADIR": str(folder / "data"), "DICOMPORT": 0, "QUIETSECONDS": 0.001,
            "REDCAP": {"url": redcap.url, "tokens": hospital.tokens, "calls_per_minute": 60_000},
            "RESEARCHPACS": {"AETITLE": pacs.ae_title, "IP": "127.0.0.1", "PORT": pacs.port}, **config,
        }  # fmt: skip
        config_file.parent.mkdir(parents=True)
        config_file.write_text(json.dumps(content))
        settings = load_settings(config_file, {})
        settings.layout.ensure()
        tokens = {role: path.read_text().strip() for role, path in hospital.token_files.items()}
        listener = Listener(settings.default_site, Ledger(settings.ledger_url), worker="test")
        stack.callback(listener.stop, 5.0)
        _, port = listener.start()
        gateway = Gateway(folder, settings, config_file, pacs, sftp, redcap, tokens, samples, port)
        stack.callback(gateway.instance.dispose)
        yield gateway
    shutil.rmtree(folder / "data", ignore_errors=True)
