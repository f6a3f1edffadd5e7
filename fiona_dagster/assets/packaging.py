"""The package in the outbox: zip, MD5 and manifest, made of verified files only."""

from collections.abc import Iterator

from dagster import AssetExecutionContext, MaterializeResult, asset
from dagster import MetadataValue as Value

from fiona_dagster.assets.costs import Spent
from fiona_dagster.assets.descriptions import EXPORT, OWNER, stage_tags
from fiona_dagster.assets.exports import export_context
from fiona_dagster.assets.failures import reporting_failures
from fiona_dagster.assets.partitions import STUDIES
from fiona_dagster.assets.readiness import ready
from fiona_dagster.assets.releases import recall_verified, release_proof
from fiona_dagster.domain.errors import Transient
from fiona_dagster.domain.packaging import Package
from fiona_dagster.domain.transfer import Transfer, TransferState
from fiona_dagster.resources.gateway import GatewayResource

EXPORTABLE = (TransferState.FORWARDED, TransferState.DELIVERED)


@asset(
    partitions_def=STUDIES,
    deps=["research_pacs_copy"],
    group_name=EXPORT,
    kinds={"zip"},
    owners=[OWNER],
    tags=stage_tags("packaging"),
    output_required=False,
)
def outbox_package(
    context: AssetExecutionContext, gateway: GatewayResource
) -> Iterator[MaterializeResult[None]]:
    """The study as a package in the outbox: FIONA's file name, an MD5 file and a manifest beside it.

    Stored, not compressed (pixel data hardly shrinks), and the same bytes whenever nothing changed, so that a
    destination which has it need not get it again.
    """
    with reporting_failures():
        spent = Spent()
        packages = build_packages(gateway, context.partition_key)
        if not packages:
            context.log.info("nothing is confirmed by the research PACS yet")
            return
        yield MaterializeResult(
            metadata={
                "packages": len(packages),
                "entries": sum(package.entries for _, package in packages),
                "bytes": sum(package.size_bytes for _, package in packages),
                "files": Value.md("\n".join(f"- `{p.name}` md5 `{p.md5}`" for _, p in packages)),
                "outbox": Value.path(str(gateway.settings.layout.outbox)),
                **spent.metadata,
            }
        )


def build_packages(gateway: GatewayResource, study_key: str) -> list[tuple[Transfer, Package]]:
    """Build (or find unchanged) the packages of every exportable transfer of a study.

    Raises:
        Transient: all of them wait for their projects to be mended.
    """
    from fiona_dagster.adapters.packages import build

    study = gateway.ledger.studies.get(study_key)
    made: list[tuple[Transfer, Package]] = []
    transfers, waiting = ready(gateway, gateway.ledger.transfers.of_study(study_key, EXPORTABLE))
    if waiting and not transfers:
        raise Transient("; ".join(waiting))
    for transfer in transfers:
        verified = recall_verified(gateway, study, transfer)
        if verified is None or not verified.instances:
            continue
        project = gateway.project(transfer.project)
        for export in project.exports:
            outbox, proof = gateway.settings.layout.outbox, release_proof(gateway, study, transfer)
            context = export_context(gateway, transfer, export)
            site = gateway.signing_key
            package = build(verified, export, outbox, proof=proof, context=context, site=site)
            made.append((transfer, package))
    return made
