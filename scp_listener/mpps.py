"""Modality Performed Procedure Step as SCP (PS3.4 annex F): recorded before it is answered.

FIONA's second flag in `config/enabled` switches it: `0` there and steps are refused (fiona-behaviour 1.3).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from pydicom import Dataset
from pynetdicom import evt

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.domain.errors import FionaError, Reject, Transient
from fiona_dagster.domain.procedures import (
    NO_LONGER_UPDATED,
    NO_LONGER_UPDATED_ERROR,
    NOT_AUTHORISED,
    RESOURCE_LIMITATION,
    created_procedure,
    procedure_change,
    steps_are_enabled,
)
from scp_listener.log import LOG

MPPS = "1.2.840.10008.3.1.2.3.3"
PROCESSING_FAILURE = 0x0110
SUCCESS = 0x0000


class ProcedureSteps:
    """Answers N-CREATE and N-SET of one site. Safe to call from many threads."""

    def __init__(
        self,
        site: str,
        ledger: Ledger,
        control: Callable[[], str | None],
        may: Callable[[Any], bool] = lambda _association: True,
    ) -> None:
        """`control` gives the content of FIONA's `enabled`, `may` tells whether an Association may do this."""
        self._site, self._ledger, self._control, self._may = site, ledger, control, may

    def handlers(self) -> list[tuple[Any, Any]]:
        """What to bind to the server's events."""
        return [(evt.EVT_N_CREATE, self._create), (evt.EVT_N_SET, self._set)]

    def _create(self, event: Any) -> tuple[int | Dataset, Dataset | None]:
        given = str(event.request.AffectedSOPInstanceUID or "")
        uid = given or f"2.25.{uuid.uuid4().int}"

        def record() -> None:
            created = created_procedure(uid, event.attribute_list)
            self._ledger.procedures.create(self._site, _calling(event), created)

        status = self._answer(event, record)
        if status != SUCCESS or given:
            return status, None
        named = Dataset()
        named.AffectedSOPInstanceUID = uid
        return status, named

    def _set(self, event: Any) -> tuple[int | Dataset, Dataset | None]:
        def record() -> None:
            change = procedure_change(event.modification_list)
            uid = str(event.request.RequestedSOPInstanceUID or "")
            self._ledger.procedures.change(self._site, uid, change)

        return self._answer(event, record), None

    def _answer(self, event: Any, record: Callable[[], None]) -> int | Dataset:
        try:
            if not self._may(event.assoc):
                raise Reject(NOT_AUTHORISED, "procedure steps are not for this caller")
            if not steps_are_enabled(self._control()):
                raise Reject(NOT_AUTHORISED, "procedure steps are switched off")
            record()
        except Reject as error:
            return _refused(error.status, error.reason)
        except Transient:
            return _refused(RESOURCE_LIMITATION, "the ledger does not answer; send again later")
        except FionaError:
            return _refused(PROCESSING_FAILURE, "the step cannot be recorded")
        except Exception as error:  # noqa: BLE001  a stranger's data set: pydicom raises many kinds
            LOG.error("a procedure step could not be read (%s)", type(error).__name__)
            return _refused(PROCESSING_FAILURE, "the step cannot be read")
        return SUCCESS


def _refused(status: int, reason: str) -> Dataset:
    LOG.warning("a procedure step was refused 0x%04X: %s", status, reason)
    answer = Dataset()
    answer.Status = status
    answer.ErrorComment = reason[:64]
    if status == NO_LONGER_UPDATED:
        answer.ErrorID = NO_LONGER_UPDATED_ERROR
    return answer


def _calling(event: Any) -> str:
    return str(event.assoc.requestor.primitive.calling_ae_title).strip()
