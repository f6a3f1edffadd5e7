"""What every asset of the chain has in common, and the outside world at both its ends."""

from __future__ import annotations

from dagster import AssetSpec

OWNER = "team:research-it"

INTAKE, TRANSFER, EXPORT, HOUSEKEEPING, OUTSIDE = "intake", "transfer", "export", "housekeeping", "outside"

SCANNER = AssetSpec(
    "scanners",
    group_name=OUTSIDE,
    kinds={"dicom"},
    owners=[OWNER],
    description="The hospital's scanners and its clinical PACS. They send by C-STORE to the listener "
    "(`scp_listener`), which answers Success only when an instance is on disk, and never waits for Dagster.",
)
COUPLING_LIST = AssetSpec(
    "coupling_list",
    group_name=OUTSIDE,
    kinds={"redcap"},
    owners=[OWNER],
    description="What researchers say about studies to come: REDCap's CouplingList (accession number or Study "
    "Instance UID to project, participant, event) and Routing (AE title and patient pattern to project).",
)


def stage_tags(stage: str) -> dict[str, str]:
    """Tags by which the catalogue can be searched."""
    return {"fiona/stage": stage}
