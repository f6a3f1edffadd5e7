"""What the gateway reads from and writes to its REDCap projects, in its own types.

Tokens are resolved when a project is first used, and each is checked to belong to a project of its role.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fiona_dagster.adapters.redcap.client import FIRST_WAIT_SECONDS, RedcapProject, Row
from fiona_dagster.adapters.redcap.incoming import IncomingWriter
from fiona_dagster.adapters.redcap.rate_limit import RateLimit
from fiona_dagster.adapters.redcap.repeating import INSTANCE, INSTRUMENT
from fiona_dagster.domain.dictionaries import choices_of
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.project import Project, project_from_fields
from fiona_dagster.domain.registration import (
    RECORD,
    TRANSFERS,
    PendingTransfer,
    RegistrationReceipt,
    StudyRegistration,
    TransferRow,
    TransferStatus,
    is_pending,
)
from fiona_dagster.domain.routing import CouplingEntry, RoutingRule
from fiona_dagster.settings import RedcapSettings

_ESSENTIAL = {
    "Incoming": (RECORD, "study_patient_id", "series_instance_uid", "transfer_project_name", "transfer_name"),
    "CouplingList": ("record_id", "cl_accessionnumber", "cl_projectname", "cl_subjectid"),
    "Routing": ("record_id", "routing_active", "routing_dest_project"),
    "DataTransferProjects": ("record_id", "project_name", "project_patient_naming", "project_active"),
    "AutoID": ("record_id", "autoid_project_name", "autoid_hash", "autoid_value"),
    "WhatIsInIDS7": ("ids7_patient_id", "ids7_date_stamp"),
    "AutomationRules": ("record_id", "rule_trigger", "rule_action"),
}
_PROJECT_LISTS = ("destinations", "export_profiles", "rewritepixelexclusions")
"""Repeating forms of which a project takes every row."""
_PROJECT_FORMS = ("leave_alone_do_not_touch", "projects", "deidentification", *_PROJECT_LISTS)
_WANTED_TRANSFERS = (
    "[transfer_requested_date] <> '' and "
    "([transfer_date] = '' or [transfer_date] < [transfer_requested_date])"
)  # fmt: skip


@dataclass(frozen=True)
class RegistryProjects:
    """The projects that can be used, and what is wrong with the others (one sentence each)."""

    projects: tuple[Project, ...]
    problems: tuple[str, ...]


class RedcapRegistry:
    """The gateway's side of REDCap. May be shared by threads.

    Every method raises `Transient` when REDCap is down, `ConfigurationError` when a token or right is wrong, and
    `Permanent` when it refuses what is asked.

    Args:
        settings: address, tokens by role, limits.
        secret: follows a secret reference.
        limiter_file: state of the rate limit, shared by all processes of the gateway; locks lie beside it.
        first_wait_seconds: before a call is repeated for the first time.
    """

    def __init__(
        self,
        settings: RedcapSettings,
        secret: Callable[[str], str],
        limiter_file: Path,
        *,
        first_wait_seconds: float = FIRST_WAIT_SECONDS,
    ) -> None:
        self._settings = settings
        self._first_wait_seconds = first_wait_seconds
        self._secret = secret
        self._limiter_file = limiter_file
        self._limit = RateLimit(limiter_file, settings.calls_per_minute)
        self._projects: dict[str, RedcapProject] = {}
        self._research: dict[tuple[str, str], RedcapProject] = {}
        self._writer: IncomingWriter | None = None
        self._opening = threading.RLock()

    @property
    def url(self) -> str:
        """The API's address."""
        return self._settings.url

    def client(self, role: str) -> RedcapProject:
        """The project in `role`, its token checked once.

        Raises:
            ConfigurationError: there is no token for the role, or it belongs to another project.
        """
        with self._opening:
            if role not in self._projects:
                project = self._open(role)
                self._require_role(project, role)
                self._projects[role] = project
            return self._projects[role]

    def _require_role(self, project: RedcapProject, role: str) -> None:
        """Refuse a token that belongs to another project than the role's.

        Fields tell the roles apart; two projects of one role (a test's and production's) only the number does.
        """
        expected = self._settings.project_ids
        try:
            project.require(project_id=expected.get(role), fields=_ESSENTIAL.get(role, ()))
        except ConfigurationError as error:
            number = int(project.info.get("project_id") or 0)
            other = next((one for one, its in expected.items() if its == number and one != role), "")
            swapped = f", which REDCAP.project_ids has as {other}" if other else ""
            raise ConfigurationError(
                f"{role}: {error.problem}{swapped}",
                remedy=f"exchange the token in REDCAP.tokens.{role}, or mend REDCAP.project_ids.{role}",
            ) from None

    def expected_project_id(self, role: str) -> int | None:
        """REDCap's number of the role's project as REDCAP.project_ids says it."""
        return self._settings.project_ids.get(role)

    def research_project(
        self, name: str, token_ref: str = "", project_id: int | None = None
    ) -> RedcapProject:
        """A research project's own REDCap, its token checked once to belong to it.

        Args:
            name: of the project; without `token_ref` the token is that of `REDCAP.tokens` under this name.
            token_ref: `project_token_ref`, a secret reference.
            project_id: `project_redcap_id`, REDCap's number of the project; without it the title must be `name`.

        Raises:
            ConfigurationError: there is no token, or it belongs to another project.
        """
        with self._opening:
            if (name, token_ref) not in self._research:
                project = self._open(name, token_ref)
                try:
                    project.require(project_id=project_id, title=name if project_id is None else None)
                except ConfigurationError as error:
                    raise ConfigurationError(
                        f"{name}: {error.problem}", remedy="exchange the token, or set project_redcap_id"
                    ) from None
                self._research[name, token_ref] = project
            return self._research[name, token_ref]

    def has_research_project(self, name: str, token_ref: str = "") -> bool:
        """Whether the project has a REDCap of its own."""
        return bool(token_ref or self._settings.tokens.get(name))

    def lock_file(self, name: str) -> Path:
        """The lock under which the processes of the gateway write what REDCap has no lock for."""
        return self._limiter_file.with_name(f"{self._limiter_file.name}.{name}.writing")

    def register(self, studies: Sequence[StudyRegistration]) -> RegistrationReceipt:
        """Put studies and their series into Incoming; doing it again changes nothing.

        Known series keep their instance, new ones get the next free number, rows that are there already are not
        written. What was written is read back.
        """
        return self._incoming.register(studies)

    def record_transfer(self, rows: Sequence[TransferRow]) -> int:
        """Tell Incoming what became of transfers, found by `transfer_key`, else by project, name and event.

        Returns: the rows written; 0 when Incoming knew everything.
        """
        return self._incoming.record_transfers(rows)

    def refuse_request(self, asked: PendingTransfer, problem: str) -> None:
        """Tell a request in `transfers` that it cannot be carried out, and why; it stays one, so that it counts once
        it is mended. `problem`: without patient data.
        """
        project = self.client("Incoming")
        values = {
            "transfer_status": str(int(TransferStatus.FAILED)),
            "transfer_error_message": json.dumps([problem], ensure_ascii=False),
        }
        place = {RECORD: asked.study_instance_uid, INSTRUMENT: TRANSFERS, INSTANCE: str(asked.instance)}
        known = {name: value for name, value in values.items() if name in project.field_names}
        project.write_rows([{**place, **known, f"{TRANSFERS}_complete": "1"}])

    def pending_transfers(self, study_instance_uid: str | None = None) -> list[PendingTransfer]:
        """Transfers that were requested and not carried out since; of one study only, when given."""
        project = self.client("Incoming")
        if study_instance_uid is None:
            rows = project.each_row(forms=[TRANSFERS], filter_logic=_WANTED_TRANSFERS)
        else:
            rows = project.each_row([study_instance_uid], forms=[TRANSFERS])
        return [_pending(row) for row in rows if row.get(INSTRUMENT) == TRANSFERS and is_pending(row)]

    def coupling_entries(self) -> list[CouplingEntry]:
        """The coupling list."""
        return [
            CouplingEntry(
                record_id=str(row["record_id"]),
                project=str(row["cl_projectname"]).strip(),
                participant=str(row["cl_subjectid"]).strip(),
                event=str(row.get("cl_eventname", "")).strip(),
                accession_number=str(row["cl_accessionnumber"]).strip(),
                study_instance_uid=str(row.get("cl_studyinstanceuid", "")).strip(),
                date=str(row.get("cl_date", "")),
                expires=str(row.get("cl_expires", "")),
                used=str(row.get("cl_used_date", "")),
            )
            for row in self.client("CouplingList").each_row()
        ]

    def routing_rules(self) -> list[RoutingRule]:
        """The routing rules. FIONA's dropdown of projects counts by its label, which is the project's name."""
        project = self.client("Routing")
        field = next(one for one in project.metadata if one["field_name"] == "routing_dest_project")
        names = (
            choices_of(str(field["select_choices_or_calculations"])) if field["field_type"] != "text" else {}
        )
        return [_routing_rule(row, names) for row in project.rows()]

    def project_rows(self) -> list[Row]:
        """Rows of DataTransferProjects as JSON values: fields that are filled in, lists of destinations and exports."""
        project = self.client("DataTransferProjects")
        forms = [form for form in _PROJECT_FORMS if form in set(project.forms)]
        found: dict[str, Row] = {}
        for row in project.rows(forms=forms):
            one = found.setdefault(str(row["record_id"]), {name: [] for name in _PROJECT_LISTS})
            filled = {name: value for name, value in row.items() if value not in {"", None}}
            if not row.get(INSTRUMENT):
                one.update(filled)
            elif row[INSTRUMENT] in _PROJECT_LISTS:
                one[row[INSTRUMENT]].append(filled)
        return list(found.values())

    def projects(self) -> RegistryProjects:
        """The projects; a row that cannot be used costs only itself and is named in `problems`."""
        projects, problems = [], []
        for row in self.project_rows():
            place = f"DataTransferProjects, record {row.get('record_id', '?')}"
            try:
                projects.append(project_from_fields(row, row["destinations"], place=place))
            except ConfigurationError as error:
                problems.append(str(error))
        return RegistryProjects(tuple(projects), tuple(problems))

    def mark_coupling_used(self, record_ids: Sequence[str], study_instance_uid: str, when: str) -> int:
        """Note when (`YYYY-mm-dd HH:MM`) and for what entries of the coupling list were first used.

        Returns: the entries that were not marked before.
        """
        if not record_ids:
            return 0
        project = self.client("CouplingList")
        if "cl_used_date" not in project.field_names:
            return 0
        known = {str(row["record_id"]): row for row in project.rows(records=list(record_ids))}
        fresh = [one for one in record_ids if one in known and not known[one].get("cl_used_date")]
        values = {"cl_used_date": when, "cl_used_study": study_instance_uid}
        return project.write_rows([{"record_id": one, **values} for one in fresh])

    @property
    def _incoming(self) -> IncomingWriter:
        with self._opening:
            if self._writer is None:
                lock_file = self._limiter_file.with_name(f"{self._limiter_file.name}.writing")
                self._writer = IncomingWriter(self.client("Incoming"), lock_file)
            return self._writer

    def _open(self, role: str, reference: str | None = None) -> RedcapProject:
        reference = reference or self._settings.tokens.get(role)
        if not reference:
            raise ConfigurationError(
                f"REDCAP.tokens has no token for {role}",
                remedy=f'add "{role}": "file:/path" or run `fiona redcap provision`',
            )
        return RedcapProject(
            self._settings.url,
            self._secret(reference),
            self._limit,
            timeout_seconds=self._settings.timeout_seconds,
            ca_bundle=self._settings.ca_bundle,
            first_wait_seconds=self._first_wait_seconds,
        )


def _pending(row: Row) -> PendingTransfer:
    return PendingTransfer(
        study_instance_uid=str(row[RECORD]),
        project=str(row["transfer_project_name"]).strip(),
        participant=str(row["transfer_name"]).strip(),
        event=str(row.get("transfer_event_name", "")).strip(),
        requested_by=str(row.get("transfer_requested_by", "")),
        requested_date=str(row["transfer_requested_date"]),
        transfer_key=str(row.get("transfer_key", "")),
        instance=int(row[INSTANCE]),
    )


def _routing_rule(row: Row, names: dict[str, str]) -> RoutingRule:
    destination = str(row["routing_dest_project"])
    priority = str(row.get("routing_priority") or "0")
    return RoutingRule(
        record_id=str(row["record_id"]),
        project=names.get(destination, destination).strip(),
        active=str(row["routing_active"]) == "1",
        incoming_ae=str(row.get("routing_incoming_aetitle", "")),
        sending_ae=str(row.get("routing_sending_aetitle", "")),
        allowed_patient_id=str(row.get("routing_allowed_patientid", "")),
        allowed_patient_name=str(row.get("routing_allowed_patientname", "")),
        event=str(row.get("routing_event_name", "")),
        priority=int(priority) if priority.lstrip("-").isdigit() else 0,
        participant_template=str(row.get("routing_subject_template", "")).strip(),
        modalities=frozenset(re.findall(r"[A-Z]+", str(row.get("routing_modalities", "")).upper())),
    )
