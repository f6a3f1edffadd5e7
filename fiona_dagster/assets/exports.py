"""What an export needs of a study besides its copies: demographics, and the way back for dates."""

from __future__ import annotations

import hmac

from fiona_dagster.assets.releases import release_key
from fiona_dagster.domain.deid.codes import Code
from fiona_dagster.domain.deid.dates import restored_date
from fiona_dagster.domain.delivery import NOT_SEALED
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.exports.changes import ExportContext
from fiona_dagster.domain.exports.demographics import Demographics
from fiona_dagster.domain.exports.edits import Shifted
from fiona_dagster.domain.exports.profiles import CONVERTED, ExportProfile
from fiona_dagster.domain.project import Project
from fiona_dagster.domain.transfer import Transfer
from fiona_dagster.resources.gateway import GatewayResource

_DIGEST = b"fiona-dagster: demographics of an export"


def export_context(gateway: GatewayResource, transfer: Transfer, profile: ExportProfile) -> ExportContext:
    """The context of one transfer's export.

    Raises:
        Forbidden: the format gives back dates, which the project may not.
        Permanent: demographics contradict each other.
        Transient: REDCap is down.
    """
    if not (profile.wants_demographics or profile.restores_dates):
        return ExportContext()
    project, key = gateway.project(transfer.project), release_key(gateway, transfer)
    known = Demographics()
    if profile.wants_demographics:
        known = _demographics(gateway, project, transfer.participant, demanded=profile.demographics)
    text = "\x1f".join((transfer.participant, known.sex, known.birth_date, known.age))
    restore = None
    if profile.restores_dates and profile.export_type not in CONVERTED and project.date_mode != "keep":
        restored_date(
            project, transfer.participant, key, "DA", ""
        )  # whether it may, before anything is built

        def restore(vr: str, value: str) -> str:
            return restored_date(project, transfer.participant, key, vr, value)

    return ExportContext(
        demographics=known,
        restore=restore,
        shifted=lambda sop_class_uid: _shifted(project, sop_class_uid),
        birth_dates_may_leave=project.dates_may_be_restored or project.date_mode == "keep",
        digest=hmac.digest(key, _DIGEST + text.encode(), "sha256").hex(),
    )


def export_password(gateway: GatewayResource, profile: ExportProfile) -> str:
    """The password of an encrypted export, blank for another: followed at the last moment and never kept.

    Raises:
        ConfigurationError: it is not there, or too weak: the package is not made, and is made once it is right.
    """
    from fiona_dagster.adapters.encryption import check_password

    if not profile.encryption:
        return ""
    try:
        password = gateway.settings.secret(profile.password_ref)
        check_password(password)
    except ConfigurationError as error:
        raise ConfigurationError(f"{NOT_SEALED}{error.problem}", remedy=error.remedy) from None
    return password


def _demographics(
    gateway: GatewayResource, project: Project, participant: str, *, demanded: bool
) -> Demographics:
    """Of the project's own REDCap; blank where there is none and the project did not ask itself.

    Raises:
        ConfigurationError: the project asks for them, and there is no REDCap or no token.
    """
    from fiona_dagster.adapters.redcap.demographics import read_demographics

    registry = gateway.registry
    if registry is None or not registry.has_research_project(project.name, project.redcap_token_ref):
        if not demanded:
            return Demographics()
        raise ConfigurationError(
            f"an export of {project.name} asks for demographics, and the project has no REDCap that is known here",
            remedy="set project_token_ref, or choose another format",
        )
    client = registry.research_project(project.name, project.redcap_token_ref, project.redcap_id)
    return read_demographics(client, participant)


def _shifted(project: Project, sop_class_uid: str) -> Shifted:
    rules = project.profile.rules(sop_class_uid, project.date_mode)
    return lambda tag, vr, parents: rules.code(tag, vr, parents) is Code.DATE
