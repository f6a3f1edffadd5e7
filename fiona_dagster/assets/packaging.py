"""The package in the outbox: zip, MD5 and manifest, made of verified files only."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from dagster import AssetExecutionContext, MaterializeResult, asset
from dagster import MetadataValue as Value

from fiona_dagster.adapters.ledger.deliveries import DELIVERY_FAILED
from fiona_dagster.adapters.ledger.parcels import Parcel
from fiona_dagster.assets.costs import Spent
from fiona_dagster.assets.descriptions import EXPORT, OWNER, stage_tags
from fiona_dagster.assets.exports import export_context, export_password
from fiona_dagster.assets.failures import reporting_failures
from fiona_dagster.assets.partitions import STUDIES
from fiona_dagster.assets.readiness import ready
from fiona_dagster.assets.registry_updates import tell_registry
from fiona_dagster.assets.releases import recall_verified, release_proof, stop_transfer
from fiona_dagster.domain.delivery import wanted_of
from fiona_dagster.domain.errors import ConfigurationError, FionaError, Hold, Permanent, Transient
from fiona_dagster.domain.exports.profiles import ExportProfile
from fiona_dagster.domain.forwarding import SendingState
from fiona_dagster.domain.packaging import Package
from fiona_dagster.domain.transfer import Transfer, TransferState
from fiona_dagster.domain.verification import VerifiedStudy
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
        built = build_packages(gateway, context.partition_key, run_id=context.run.run_id)
        problems = built.problems
        for one in built.exports:
            if one.stopped and not one.packages and not one.later:
                stop_packages(gateway, one, run_id=context.run.run_id)
        if problems:
            tell_registry(gateway, gateway.ledger.studies.get(context.partition_key), context.log)
        if not any(one.packages or not (one.later or one.stopped) for one in built.exports):
            if problems:
                raise problems[0]
            context.log.info("nothing is confirmed by the research PACS yet")
            return
        packages = [package for one in built.exports for package in one.packages]
        for problem in problems:  # of one export, or transfer: delivery goes on with the others
            context.log.warning("not every package could be made: %s", problem)
        yield MaterializeResult(
            metadata={
                "packages": len(packages),
                "entries": sum(package.entries for package in packages),
                "bytes": sum(package.size_bytes for package in packages),
                "files": Value.md("\n".join(f"- `{p.name}` md5 `{p.md5}`" for p in packages) or "none"),
                "not_made": Value.md("\n".join(f"- {one}" for one in problems) or "none"),
                "outbox": Value.path(str(gateway.settings.layout.outbox)),
                **spent.metadata,
            }
        )


@dataclass
class Exports:
    """The packages of one transfer: what is queued of them, which are there, and why others are not."""

    transfer: Transfer
    parcels: list[Parcel]
    packages: list[Package] = field(default_factory=list)
    later: list[Transient] = field(default_factory=list)
    stopped: list[Permanent | ConfigurationError] = field(default_factory=list)


@dataclass
class Built:
    """The packages of a study's transfers; `others` are errors of transfers that have none."""

    exports: list[Exports] = field(default_factory=list)
    others: list[FionaError] = field(default_factory=list)

    @property
    def problems(self) -> list[FionaError]:
        """Everything that went wrong; first what may pass."""
        later = [error for one in self.exports for error in one.later]
        stopped = [error for one in self.exports for error in one.stopped]
        return sorted([*later, *stopped, *self.others], key=lambda one: not isinstance(one, Transient))


def build_packages(gateway: GatewayResource, study_key: str, *, run_id: str) -> Built:
    """Build (or find unchanged) the packages of every exportable transfer of a study.

    What cannot be built of one export stops no other. A transfer whose copies are not what was verified is stopped
    here, with the reason, so that a person hears of it.

    Raises:
        Transient: all of them wait for their projects to be mended.
    """
    study = gateway.ledger.studies.get(study_key)
    built = Built()
    transfers, waiting = ready(gateway, gateway.ledger.transfers.of_study(study_key, EXPORTABLE))
    if waiting and not transfers:
        raise Transient("; ".join(waiting))
    for transfer in transfers:
        try:
            verified = recall_verified(gateway, study, transfer)
            if verified is None or not verified.instances:
                continue
            exports = _exports(gateway, transfer, verified)
        except Transient as error:
            built.others.append(error)
        except (Hold, Permanent) as error:  # the copies are not what was verified
            stop_transfer(gateway, transfer, error, run_id=run_id)
            built.others.append(error)
        else:
            built.exports.append(exports)
    return built


def stop_packages(gateway: GatewayResource, exports: Exports, *, run_id: str) -> None:
    """Packages that will not be made or taken: the transfer waits for a person, with every reason."""
    reasons = "; ".join(dict.fromkeys(map(str, exports.stopped)))
    gateway.ledger.transfers.set_state(
        exports.transfer.id, TransferState.FAILED, now=gateway.now(), reason=f"{DELIVERY_FAILED}{reasons}",
        generation=exports.transfer.generation, run_id=run_id,
    )  # fmt: skip


def _exports(gateway: GatewayResource, transfer: Transfer, verified: VerifiedStudy) -> Exports:
    """Raises:
    Hold: a file is no longer the one that was verified.
    """
    ledger, project = gateway.ledger, gateway.project(transfer.project)
    wanted = wanted_of(project.exports, project.destinations)
    found = Exports(
        transfer, ledger.parcels.enter(transfer, wanted, revision=verified.revision, now=gateway.now())
    )
    for export in project.exports:
        mine = [
            one
            for one in found.parcels
            if one.export == export.label and one.state is not SendingState.CANCELLED
        ]
        if not mine:
            continue  # a person took all of it out of the queue
        with stopping_no_other(gateway, found, mine):
            package = _build(gateway, transfer, verified, export)
            ledger.parcels.built(mine, package.name, package.size_bytes)
            found.packages.append(package)
    return found


@contextmanager
def stopping_no_other(gateway: GatewayResource, exports: Exports, parcels: list[Parcel]) -> Iterator[None]:
    """What goes wrong with these packages is noted, in the queue as well, and the work on the others goes on."""
    state, problem = SendingState.WAITING, ""
    try:
        yield
    except Transient as error:
        exports.later.append(error)
        problem = str(error)
    except (Permanent, ConfigurationError) as error:
        exports.stopped.append(error)
        state, problem = SendingState.FAILED, str(error)
    else:
        return
    for one in parcels:
        gateway.ledger.parcels.settle(one, state, now=gateway.now(), reason=problem)


def _build(
    gateway: GatewayResource, transfer: Transfer, verified: VerifiedStudy, export: ExportProfile
) -> Package:
    from fiona_dagster.adapters.package_files import remove_other_forms
    from fiona_dagster.adapters.packages import build

    study = gateway.ledger.studies.get(transfer.study_key)
    package = build(
        verified,
        export,
        gateway.settings.layout.outbox,
        proof=release_proof(gateway, study, transfer),
        context=export_context(gateway, transfer, export),
        site=gateway.signing_key,
        password=export_password(gateway, export),
    )
    remove_other_forms(package)  # what was never to leave unencrypted, and was made before, is not left lying
    return package
