"""A project's studies from the coupling list to its own REDCap, its results and its end, with real servers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from click.testing import CliRunner, Result
from pydicom import dcmread
from pydicom.uid import generate_uid

from fiona_dagster.adapters.ledger.studies import StudyRecord
from fiona_dagster.adapters.redcap.provision import provision_project
from fiona_dagster.adapters.redcap.rate_limit import RateLimit
from fiona_dagster.adapters.signing import read_public_key, signed_by
from fiona_dagster.assets.project_records import approval_notices, tell_projects
from fiona_dagster.assets.releases import release_key
from fiona_dagster.assets.result_origin import sources_of_result, with_origin
from fiona_dagster.cli.coupling import coupling
from fiona_dagster.cli.project import project
from fiona_dagster.domain.deid.names import name_words
from fiona_dagster.domain.deidentification import ReleaseRequest, SourceInstance
from fiona_dagster.domain.errors import ConfigurationError, Hold
from fiona_dagster.domain.phases import Phase
from fiona_dagster.domain.results import OUR_OWN_COPY
from fiona_dagster.domain.signed import parsed
from fiona_dagster.domain.transfer import Transfer, TransferState
from tests.gateway import Gateway, running_gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running


def fiona(command: object, gateway: Gateway, *arguments: str) -> Result:
    return CliRunner().invoke(command, [*arguments, "--config", str(gateway.config_file)])  # type: ignore[arg-type]


def decide_late(gateway: Gateway) -> list[str]:
    keys = gateway.late_decisions()
    for key in keys:
        gateway.run(Phase.TRANSFER, key)
    gateway.settle()
    return keys


def fresh(gateway: Gateway) -> None:
    """Projects are read from REDCap at most every 30 seconds: read them now."""
    gateway.ledger.inventory.save_snapshot("projects", {"at": 0, "rows": []}, now=0.0)


def test_a_project_from_its_first_entry_to_its_end(gateway: Gateway) -> None:
    incoming = gateway.resource.registry
    assert incoming is not None
    # an auto-ID for what nothing claims
    registered = {"record_id": "HEART", "project_name": "HEART", "project_patient_naming": r"H\d{3}",
                  "project_use_autoid": "1", "project_autoid_aetitle": gateway.site.ae_title}  # fmt: skip
    incoming.client("DataTransferProjects").write_rows([registered])
    fresh(gateway)
    study = gateway.receive("cr-uncoupled")
    gateway.settle()
    (named,) = gateway.ledger.transfers.of_study(study.key)
    assert (named.project, named.source) == ("HEART", "autoid")
    assert [one["autoid_value"] for one in incoming.client("AutoID").rows()] == [named.participant]
    incoming.client("DataTransferProjects").write_rows([{**registered, "project_use_autoid": "0"}])
    fresh(gateway)

    # an entry for a study that went elsewhere before
    file = gateway.folder / "list.csv"
    file.write_text(
        f"AccessionNumber,ProjectName,subjectid,eventname\r\n{study.accession_number},BRAINAGE,BA-090,Event 1\r\n"
        "A2,BRAINAGE,Kari Nordmann,\r\n"
    )
    refused = fiona(coupling, gateway, "import", str(file))
    assert refused.exit_code == 1
    assert "line 3: the participant does not match" in refused.output
    assert "Nordmann" not in refused.output
    assert fiona(coupling, gateway, "check", str(file)).exit_code == 1
    imported = fiona(coupling, gateway, "import", "--good-lines", str(file))
    assert "1 entries imported" in imported.output
    assert decide_late(gateway) == [study.key]
    assert decide_late(gateway) == []
    moved = {one.project: one for one in gateway.ledger.transfers.of_study(study.key)}
    assert moved["BRAINAGE"].state is TransferState.DELIVERED
    entries = json.loads(fiona(coupling, gateway, "list", "--json").output)
    assert [one["state"] for one in entries][-1] == "used"
    assert fiona(coupling, gateway, "clear").output == "0 expired entries deleted\n"

    # its own REDCap learns of it when it is there, from the copies alone
    assert tell_projects(gateway.resource, _Silent()) == (0, [])
    limit = RateLimit(gateway.folder / ".calls", 60_000)
    server = gateway.redcap
    made = provision_project(server.url, server.super_token, gateway.folder / "tokens", limit,
                             role="ProjectTemplate", title="BRAINAGE")  # fmt: skip
    reference = {"record_id": "BRAINAGE", "project_token_ref": f"file:{made.token_file}"}
    incoming.client("DataTransferProjects").write_rows([reference])
    fresh(gateway)
    assert tell_projects(gateway.resource, _Silent()) == (2, [])
    assert tell_projects(gateway.resource, _Silent()) == (0, [])
    rows = incoming.research_project("BRAINAGE", reference["project_token_ref"]).rows()
    told = [one for one in rows if one["redcap_repeat_instrument"] == "imaging"]
    copies = gateway.ledger.transfers.release_rows(moved["BRAINAGE"].id)
    assert [(one["record_id"], one["img_study_instance_uid"], one["img_num_files"]) for one in told] == [
        ("BA-090", copies[0].study_instance_uid, str(len(copies)))
    ]
    assert told[0]["img_study_date"] not in ("", study.study_date)

    # what a workstation makes of the copies comes back into their study
    copy = dcmread(gateway.site.layout.datadir / copies[0].path)
    copy.SeriesInstanceUID, copy.SOPInstanceUID = generate_uid(), generate_uid()
    copy.file_meta.MediaStorageSOPInstanceUID = copy.SOPInstanceUID
    copy.save_as(gateway.folder / "result.dcm")
    gateway.send(gateway.folder / "result.dcm", calling="WORKSTATION")
    gateway.settle()
    (result,) = gateway.ledger.studies.find(copies[0].study_instance_uid)
    (back,) = gateway.ledger.transfers.of_study(result.key)
    assert (back.project, back.participant, back.source) == ("BRAINAGE", "BA-090", "result")
    assert back.state is TransferState.DELIVERED, back.reason
    (sent,) = gateway.ledger.transfers.release_rows(back.id)
    assert sent.study_instance_uid == copies[0].study_instance_uid
    assert sent.sop_instance_uid not in (copy.SOPInstanceUID, copies[0].sop_instance_uid)
    released = dcmread(gateway.site.layout.datadir / sent.path)
    assert (released.StudyDate, released.AccessionNumber) == (copy.StudyDate, copy.AccessionNumber)
    asked = _request_of_result(gateway, result, back)
    assert asked.made_of is not None
    assert name_words(study.patient_name) <= asked.made_of.values.names
    _without_originals_a_result_is_held(gateway, result, back, study, copies[0].sop_instance_uid)

    # its approval ends soon, then it has ended
    ends = time.strftime("%Y-%m-%d", time.localtime(time.time() + 20 * 86_400))
    incoming.client("DataTransferProjects").write_rows(
        [{"record_id": "BRAINAGE", "project_rec_end_date": ends}]
    )
    fresh(gateway)
    assert "ends in 20 days" in approval_notices(gateway.resource)[0]
    listed = {one["project"]: one for one in json.loads(fiona(project, gateway, "list", "--json").output)}
    assert (listed["BRAINAGE"]["state"], listed["BRAINAGE"]["studies"]) == ("active", 2)

    # its end, step by step
    def end(*arguments: str) -> Result:
        return fiona(project, gateway, "end", "BRAINAGE", *arguments)

    wrong = end("--step", "deleted", "--yes-i-mean", "BRAINAGE")
    assert isinstance(wrong.exception, ConfigurationError)
    for step in ("requested", "locked"):
        assert end("--step", step).exit_code == 0
    assert gateway.resource.projects()["BRAINAGE"].closed_problem(ends) == (
        "project BRAINAGE is being ended: it takes no new data"
    )
    (shown,) = incoming.client("DataTransferProjects").rows(records=["BRAINAGE"], forms=["projects"])[:1]
    assert (shown["project_end_state"], bool(shown["project_end_locked"])) == ("2", True)
    assert end("--cancel").exit_code == 0
    assert gateway.resource.projects()["BRAINAGE"].closed_problem(ends) is None
    for step in ("requested", "locked", "exported", "confirmed"):
        assert end("--step", step, "--remark", "signed").exit_code == 0
    assert isinstance(end("--step", "deleted", "--yes-i-mean", "HEART").exception, ConfigurationError)
    final = end("--step", "deleted", "--yes-i-mean", "BRAINAGE")
    assert final.exit_code == 0, final.output
    assert gateway.resource.projects()["BRAINAGE"].life.ended
    (shown,) = incoming.client("DataTransferProjects").rows(records=["BRAINAGE"], forms=["projects"])[:1]
    assert shown["project_end_state"] == "5"
    assert "BRAINAGE-end.json" in shown["project_end_delete_sign"]
    assert "signed" in shown["project_end_confirm"]
    receipt = gateway.settings.layout.datadir / "receipts" / "BRAINAGE-end.json"
    content, signature = parsed(receipt.read_bytes())
    (gateway.folder / "public.pem").write_bytes(_public_pem(gateway))
    assert signed_by(content, signature, read_public_key(gateway.folder / "public.pem")) == "known"
    assert "BA-090" not in receipt.read_text()
    assert copies[0].study_instance_uid not in receipt.read_text()
    assert gateway.resource.keyring.projects()["BRAINAGE"].destroyed_at
    ended = [one for one in gateway.ledger.transfers.all() if one.project == "BRAINAGE"]
    assert {one.state for one in ended} == {TransferState.RETIRED}
    assert {one.participant for one in ended} == {f"ended-{one.id}" for one in ended}
    # names of packages hold the participant
    assert [parcel for one in ended for parcel in gateway.ledger.parcels.of_transfer(one.id)] == []
    assert not list(gateway.site.layout.output.glob("*/BRAINAGE-*/*/*"))
    assert not list(gateway.site.layout.outbox.glob("BRAINAGE*"))
    assert gateway.ledger.inventory.totals().balance.holds
    # the other project's copy is where it was
    assert gateway.ledger.transfers.get(named.id).participant == named.participant


def _request_of_result(gateway: Gateway, result: StudyRecord, back: Transfer) -> ReleaseRequest:
    request = ReleaseRequest(
        gateway.resource.projects()[back.project], back.participant, back.event, gateway.folder
    )
    key_of = lambda one: release_key(gateway.resource, one)  # noqa: E731
    return with_origin(gateway.resource, result, back, request, [], key_of)[0]


def _without_originals_a_result_is_held(
    gateway: Gateway, result: StudyRecord, back: Transfer, source: StudyRecord, copy_uid: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        purged = replace(source, purged_at=1.0)
        patch.setattr(gateway.ledger.studies, "get", lambda key: purged)
        with pytest.raises(Hold, match="originals were cleaned up"):
            _request_of_result(gateway, result, back)
        # assigned by hand, to whomever: what the ledger knows of the patient is searched all the same
        by_hand = replace(back, source="assign", project="HEART", participant="H777")
        strange = _request_of_result(gateway, result, by_hand).made_of
        assert strange is not None
        assert name_words(source.patient_name) <= strange.values.names
        assert source.study_instance_uid in strange.values.uids
        assert (strange.uids, strange.days, strange.study_id) == (frozenset(), frozenset(), "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gateway.ledger.projects, "sources_of_copy", lambda uid: [])
        with pytest.raises(Hold, match="without the copies"):
            _request_of_result(gateway, result, back)
    hidden = gateway.site.layout.datadir / gateway.ledger.studies.instances(source.key)[0].path
    moved = hidden.rename(hidden.with_suffix(".away"))
    with pytest.raises(Hold, match="cannot be read"):
        _request_of_result(gateway, result, back)
    moved.rename(hidden)
    instances = [SourceInstance(hidden, 1, copy_uid), SourceInstance(hidden, 2, "2.25.1")]
    assert [one.held_reason for one in sources_of_result(gateway.resource, instances)] == [OUR_OWN_COPY, ""]


class _Silent:
    def warning(self, msg: str, *args: object) -> None:
        raise AssertionError(msg % args)


def _public_pem(gateway: Gateway) -> bytes:
    from fiona_dagster.adapters.signing import public_pem

    return public_pem(gateway.resource.signing_key.public_key())
