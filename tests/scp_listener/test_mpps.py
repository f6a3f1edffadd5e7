"""Procedure steps over real Associations: pynetdicom as the modality, in either data phase."""

from __future__ import annotations

from typing import Any

from pydicom import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE

from scp_listener.mpps import MPPS
from tests.domain.test_procedures import made, step
from tests.scp_listener.conftest import Running
from tests.scp_listener.instances import ONLY_SENDS, PEER_AE, SERIES, STUDY, instance, send

STEP = "1.2.826.0.1.3680043.8.498.77"


def modality(listener: Running) -> Any:
    """An Association of a scanner that sends images and tells of its steps."""
    entity = AE(ae_title=PEER_AE)
    for sop_class in (MPPS, str(CTImageStorage)):
        entity.add_requested_context(sop_class, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", listener.port, ae_title="FIONA", evt_handlers=[ONLY_SENDS])
    assert association.is_established
    return association


def begin(association: Any, attributes: Dataset | None = None, *, uid: str | None = STEP) -> Dataset:
    """The answer to an N-CREATE."""
    if attributes is None:
        attributes = step()
        attributes.ScheduledStepAttributesSequence[0].StudyInstanceUID = STUDY
    answer: Dataset = association.send_n_create(attributes, MPPS, uid)[0]
    return answer


def change(association: Any, attributes: Dataset, *, uid: str = STEP) -> Dataset:
    """The answer to an N-SET."""
    answer: Dataset = association.send_n_set(attributes, MPPS, uid)[0]
    return answer


def ended(*images: str, state: str = "COMPLETED") -> Dataset:
    attributes = Dataset()
    attributes.PerformedProcedureStepStatus = state
    attributes.PerformedProcedureStepEndDate = "20240131"
    attributes.PerformedProcedureStepEndTime = "103000"
    attributes.PerformedSeriesSequence = [made(SERIES, *images)]
    return attributes


def test_a_step_is_recorded_before_it_is_answered_and_images_go_on_beside_it(listener: Running) -> None:
    association = modality(listener)
    assert begin(association).Status == 0x0000
    assert listener.query("select state, station, modality, ended_at from procedure") == [
        ("in_progress", "CT1", "CT", None)
    ]
    assert send(association, instance(1)) == 0
    assert change(association, ended(f"{SERIES}.1", f"{SERIES}.2")).Status == 0x0000
    assert listener.query("select state, ended_at is null from procedure") == [("completed", 0)]
    assert listener.query(
        "select series_instance_uid, sop_instance_uid from procedure_instance order by 2"
    ) == [
        (SERIES, f"{SERIES}.1"),
        (SERIES, f"{SERIES}.2"),
    ]
    assert listener.query("select study_instance_uid from procedure_study") == [(STUDY,)]
    assert send(association, instance(2)) == 0
    association.release()
    listener.eventually("select instance_count from study", [(2,)])
    assert "Doe" not in listener.log.read_text()
    assert listener.query("select count(*) from procedure where station like '%Doe%'") == [(0,)]


def test_what_cannot_be_is_refused_by_the_standards_status_and_changes_nothing(listener: Running) -> None:
    association = modality(listener)
    assert change(association, ended()).Status == 0x0112
    assert begin(association, step(Modality=None)).Status == 0x0120
    assert begin(association, step(PerformedProcedureStepStatus="COMPLETED")).Status == 0x0106
    assert begin(association).Status == 0x0000
    assert begin(association).Status == 0x0111
    assert change(association, ended(f"{SERIES}.1", state="DISCONTINUED")).Status == 0x0000
    answer = change(association, ended(f"{SERIES}.1", f"{SERIES}.2"))
    assert (answer.Status, answer.ErrorID) == (0x0110, 0xA710)
    assert answer.ErrorComment == "Performed Procedure Step Object may no longer be updated"
    association.release()
    assert listener.query("select state from procedure") == [("discontinued",)]
    assert listener.query("select count(*) from procedure_instance") == [(1,)]
    assert "refused 0x0111" in listener.log.read_text()


def test_a_step_without_a_uid_is_given_one(listener: Running) -> None:
    association = modality(listener)
    assert begin(association, uid=None).Status == 0x0000
    ((uid,),) = listener.query("select mpps_uid from procedure")
    assert change(association, ended(), uid=str(uid)).Status == 0x0000
    association.release()


def test_fionas_second_flag_switches_steps_off(listener: Running) -> None:
    listener.layout.enabled.write_text("100")
    association = modality(listener)
    assert begin(association).Status == 0x0124
    assert send(association, instance(1)) == 0
    association.release()
    assert listener.query("select count(*) from procedure") == [(0,)]
