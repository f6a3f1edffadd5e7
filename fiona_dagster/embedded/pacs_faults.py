"""What goes wrong in the archives of the hospital in a box, so that what relies on them can be tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from fiona_dagster.embedded.pacs_index import IndexedInstance


@dataclass(frozen=True)
class Faults:
    """What goes wrong, for tests. Zero and empty is never."""

    drop_every: int = 0
    """Answer Success to every n-th instance, and forget it."""
    slow_seconds: float = 0.0
    """Wait before each answer to a C-STORE."""
    refuse_status: int = 0
    """Refuse every C-STORE with this Status."""
    abort_after: int = 0
    """Abort the Association instead of answering once n instances were answered."""
    query_status: int = 0
    """End C-FINDs of more than `query_limit` matches with this Status, after so many matches and at least one."""
    query_limit: int = 0
    query_hang_seconds: float = 0.0
    """Wait before the first match of a C-FIND."""
    hidden_series: frozenset[str] = frozenset()
    """Series Instance UIDs that no C-FIND shows."""
    hide_half: bool = False
    """Show every second match of a C-FIND at SERIES and IMAGE level, and halve the counts."""
    unsent_series: frozenset[str] = frozenset()
    """Series Instance UIDs that no C-MOVE or C-GET sends, and which it does not count."""
    retrieve_half: bool = False
    """Send every second instance of a C-MOVE or C-GET, and answer Success."""
    retrieve_status: int = 0
    """End every C-MOVE and C-GET with this Status after `retrieve_limit` instances."""
    retrieve_limit: int = 0
    retrieve_hang_seconds: float = 0.0
    """Wait before the first sub-operation of a C-MOVE or C-GET."""

    def shown(self, answers: Sequence[Dataset]) -> list[Dataset]:
        """The matches of a C-FIND that remain."""
        left = [one for one in answers if one.get("SeriesInstanceUID") not in self.hidden_series]
        if not self.hide_half:
            return left
        for one in left:
            for keyword in ("NumberOfStudyRelatedInstances", "NumberOfSeriesRelatedInstances"):
                if one.get(keyword):
                    setattr(one, keyword, str(int(one[keyword].value) // 2))
        deep = [one for one in left if one.QueryRetrieveLevel in ("SERIES", "IMAGE")]
        return deep[::2] if deep else left


def failed_list(instances: Sequence[IndexedInstance]) -> Dataset:
    """The identifier of a failed retrieval: its Failed SOP Instance UID List (PS3.4 C.4.2.1.4.2)."""
    from pydicom.dataset import Dataset

    identifier = Dataset()
    identifier.FailedSOPInstanceUIDList = [one.sop_instance_uid for one in instances]
    return identifier
