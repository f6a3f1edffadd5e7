from fiona_dagster.domain.identifiers import StudyKey
from fiona_dagster.domain.routing import TransferRequest
from fiona_dagster.domain.transfer import Balance, Transfer, TransferState, state_for_request


def transfer(state: TransferState, revision: int) -> Transfer:
    return Transfer(1, "k", StudyKey("20270115-0123456789ab"), "HEART", "P1", "", "coupling", state, "", revision,
                    revision, 0, 0, 0.0, "", 0.0, "")  # fmt: skip


def request(source: str) -> TransferRequest:
    return TransferRequest("HEART", "P1", "", source)  # type: ignore[arg-type]


def test_a_new_request_is_work() -> None:
    assert state_for_request(None, request("coupling"), study_revision=1) == TransferState.REQUESTED


def test_the_same_coupling_entry_again_is_no_work() -> None:
    done = transfer(TransferState.DELIVERED, revision=1)
    assert state_for_request(done, request("coupling"), study_revision=1) == TransferState.DELIVERED


def test_a_person_who_asks_again_gets_it_again() -> None:
    done = transfer(TransferState.DELIVERED, revision=1)
    for source in ("assign", "resend"):
        assert state_for_request(done, request(source), study_revision=1) == TransferState.REQUESTED


def test_a_newer_revision_renews_every_transfer() -> None:
    done = transfer(TransferState.DELIVERED, revision=1)
    assert state_for_request(done, request("coupling"), study_revision=2) == TransferState.REQUESTED


def test_a_balance_that_lost_an_instance_does_not_hold() -> None:
    assert Balance(3, released=1, held=1, excluded=1).holds
    assert not Balance(3, released=1, held=1).holds
    assert (Balance(1, released=1) + Balance(2, held=2)) == Balance(3, 1, 2)
