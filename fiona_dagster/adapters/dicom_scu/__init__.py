"""What we ask of other DICOM application entities: C-ECHO, C-STORE, C-FIND, C-MOVE and C-GET as SCU.

pynetdicom encodes and decodes the negotiation; the Association itself runs on the caller's thread (`association`).
pynetdicom 3.0.4's own requestor has a second thread that polls the same message queue: between the sender's look at
its pause flag and its own next poll it can take the sender's response, log it as unexpected and leave the sender to
its timeout (seen once in 3,900 messages). With one thread a response has nobody else to go to.
"""

from fiona_dagster.adapters.dicom_scu.address import peer_from_text
from fiona_dagster.adapters.dicom_scu.association import Timeouts
from fiona_dagster.adapters.dicom_scu.find import Queries, TooManyMatches
from fiona_dagster.adapters.dicom_scu.get import Gets
from fiona_dagster.adapters.dicom_scu.matches import FoundInstance, FoundSeries, FoundStudy
from fiona_dagster.adapters.dicom_scu.move import Moves
from fiona_dagster.adapters.dicom_scu.part10 import StoredInstance, read_stored_instance
from fiona_dagster.adapters.dicom_scu.query import count_instances, echo, query_instances
from fiona_dagster.adapters.dicom_scu.relay import Relay
from fiona_dagster.adapters.dicom_scu.store import SendOutcome, SendReport, send
from fiona_dagster.adapters.dicom_scu.suboperations import RetrieveReport

__all__ = [
    "FoundInstance",
    "FoundSeries",
    "FoundStudy",
    "Gets",
    "Moves",
    "Queries",
    "Relay",
    "RetrieveReport",
    "SendOutcome",
    "SendReport",
    "StoredInstance",
    "Timeouts",
    "TooManyMatches",
    "count_instances",
    "echo",
    "peer_from_text",
    "query_instances",
    "read_stored_instance",
    "send",
]
