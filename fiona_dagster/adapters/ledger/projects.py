"""Projects in the ledger: auto-IDs, the steps of an end, and rows for the projects' own REDCap."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, and_, cast, func, or_, select, update

from fiona_dagster.adapters.ledger.delivery_schema import parcel
from fiona_dagster.adapters.ledger.project_schema import auto_id, project_notice, project_record, project_step
from fiona_dagster.adapters.ledger.retirement_schema import retired_copy
from fiona_dagster.adapters.ledger.schema import delivery, release, sent_copy, study, transfer
from fiona_dagster.domain.project_life import STEPS, EndStep, StepTaken
from fiona_dagster.domain.transfer import TransferState

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger


@dataclass(frozen=True)
class AutoId:
    """A participant that was given. `registered`: REDCap's AutoID has it."""

    id: int
    project: str
    patient_hash: str
    participant: str
    made_at: float
    registered: bool

    def __repr__(self) -> str:
        return f"AutoId({self.id}, {self.project})"


@dataclass(frozen=True)
class RecordDue:
    """A confirmed transfer whose imaging row is to be written; `fields` are empty until its copies were read."""

    transfer_id: int
    study_key: str
    project: str
    participant: str
    event: str
    standing: str
    fields: Mapping[str, str]

    def __repr__(self) -> str:
        return f"RecordDue({self.transfer_id}, {self.project})"


@dataclass(frozen=True)
class Couplable:
    """A study by the names that coupling entries use, and (project, participant, event) of its transfers."""

    key: str
    accession_number: str
    study_instance_uid: str
    transfers: set[tuple[str, str, str]]

    def __repr__(self) -> str:
        return f"Couplable({self.key})"


@dataclass(frozen=True)
class ProjectFigures:
    """What a project has: numbers only."""

    participants: int
    studies: int
    transfers: dict[str, int]


_AUTO_ID = [auto_id.c[name] for name in AutoId.__dataclass_fields__]
_CONFIRMED = (TransferState.FORWARDED.value, TransferState.DELIVERED.value)


class Projects:
    """Part of the ledger, see the package."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def give_auto_id(
        self, project: str, patient_hash: str, choose: Callable[[Collection[str]], str], *, now: float
    ) -> AutoId:
        """The participant of a patient in a project, chosen once.

        `choose` gets the names in use by auto-ID and by transfers of the project, within the transaction: two
        processes that name at once go one after the other, and neither chooses what the other has.
        """
        mine = and_(auto_id.c.project == project, auto_id.c.patient_hash == patient_hash)
        with self._ledger.begin() as connection:
            self._ledger.wait_for_turn(connection)
            row = connection.execute(select(*_AUTO_ID).where(mine)).one_or_none()
            if row is None:
                given = select(auto_id.c.participant).where(auto_id.c.project == project)
                assigned = select(transfer.c.participant).where(transfer.c.project == project)
                taken = {*connection.execute(given).scalars(), *connection.execute(assigned).scalars()}
                name = choose(taken)
                connection.execute(
                    auto_id.insert(),
                    {"project": project, "patient_hash": patient_hash, "participant": name,
                     "folded": name.casefold(), "made_at": now, "registered": False},
                )  # fmt: skip
                row = connection.execute(select(*_AUTO_ID).where(mine)).one()
            return AutoId(**row._mapping)  # noqa: SLF001 — the documented way to a mapping

    def auto_ids(self, project: str | None = None, *, unregistered: bool = False) -> list[AutoId]:
        """Participants that were given, oldest first."""
        query = select(*_AUTO_ID).order_by(auto_id.c.id)
        if project is not None:
            query = query.where(auto_id.c.project == project)
        if unregistered:
            query = query.where(~auto_id.c.registered)
        with self._ledger.read() as connection:
            return [AutoId(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001 — as above

    def auto_ids_registered(self, ids: Sequence[int]) -> None:
        """REDCap's AutoID has these."""
        with self._ledger.begin() as connection:
            connection.execute(update(auto_id).where(auto_id.c.id.in_(ids)).values(registered=True))

    def steps(self, project: str) -> list[StepTaken]:
        """The steps of a project's end that were taken, in their order."""
        return self.all_steps().get(project, [])

    def all_steps(self) -> dict[str, list[StepTaken]]:
        """The steps that were taken, by project."""
        found: dict[str, list[StepTaken]] = {}
        with self._ledger.read() as connection:
            for row in connection.execute(select(project_step)):
                taken = StepTaken(EndStep(row.step), row.at, row.who, row.detail)
                found.setdefault(row.project, []).append(taken)
        return {name: sorted(steps, key=lambda one: STEPS.index(one.step)) for name, steps in found.items()}

    def take_step(self, project: str, step: EndStep, who: str, *, now: float, detail: str = "") -> None:
        """Note a step; one that was taken keeps its name and time."""
        with self._ledger.begin() as connection:
            connection.execute(
                self._ledger.insert_ignoring(project_step),
                {"project": project, "step": step.value, "at": now, "who": who, "detail": detail},
            )

    def withdraw_request(self, project: str) -> None:
        """The end of a project is called off."""
        with self._ledger.begin() as connection:
            connection.execute(project_step.delete().where(project_step.c.project == project))

    def give_notice(self, project: str, approval_ends: str, days: int, *, now: float) -> bool:
        """Note a notice of an approval's end; whether it had not been given before."""
        with self._ledger.begin() as connection:
            done = connection.execute(
                self._ledger.insert_ignoring(project_notice),
                {"project": project, "approval_ends": approval_ends, "days": days, "at": now},
            )
            return bool(done.rowcount)

    def records_due(self, projects: Collection[str], limit: int = 500) -> list[RecordDue]:
        """Confirmed transfers of these projects whose row in the projects' own REDCap is not known to be up to date."""
        text = [cast(one, String) for one in (transfer.c.revision, transfer.c.generation)]
        standing = text[0] + ":" + text[1] + ":" + func.substr(transfer.c.method_digest, 1, 16)
        query = (
            select(transfer.c.id, transfer.c.study_key, transfer.c.project, transfer.c.participant, transfer.c.event,
                   standing.label("now"), project_record.c.standing.label("kept"), project_record.c.fields)
            .outerjoin(project_record, project_record.c.transfer_id == transfer.c.id)
            .where(transfer.c.state.in_(_CONFIRMED), transfer.c.project.in_(sorted(projects)),
                   func.coalesce(project_record.c.told, "") != standing)
            .order_by(transfer.c.id)
            .limit(limit)
        )  # fmt: skip
        with self._ledger.read() as connection:
            return [
                RecordDue(row.id, row.study_key, row.project, row.participant, row.event, row.now,
                          row.fields if row.kept == row.now else {})
                for row in connection.execute(query)
            ]  # fmt: skip

    def keep_record(self, due: RecordDue, fields: Mapping[str, str]) -> None:
        """The values of a transfer's copies, kept because the copies may be cleaned up before REDCap answers."""
        row = {"transfer_id": due.transfer_id, "standing": due.standing, "fields": dict(fields)}
        with self._ledger.begin() as connection:
            self._ledger.upsert(connection, project_record, [row])

    def records_told(self, due: Sequence[RecordDue]) -> None:
        """The projects' own REDCap has these rows."""
        with self._ledger.begin() as connection:
            for one in due:
                row = {"transfer_id": one.transfer_id, "standing": one.standing, "told": one.standing,
                       "fields": dict(one.fields)}  # fmt: skip
                self._ledger.upsert(connection, project_record, [row])

    def figures(self) -> dict[str, ProjectFigures]:
        """Participants, studies and transfers by state, by project."""
        with self._ledger.read() as connection:
            counted = connection.execute(
                select(transfer.c.project, func.count(transfer.c.participant.distinct()).label("participants"),
                       func.count(transfer.c.study_key.distinct()).label("studies")).group_by(transfer.c.project)
            ).all()  # fmt: skip
            states = connection.execute(
                select(transfer.c.project, transfer.c.state, func.count()).group_by(
                    transfer.c.project, transfer.c.state
                )
            ).all()
        by_state: dict[str, dict[str, int]] = {}
        for project, state, count in states:
            by_state.setdefault(str(project), {})[str(state)] = int(count)
        return {
            row.project: ProjectFigures(row.participants, row.studies, by_state[row.project])
            for row in counted
        }

    def sever_links(self, project: str) -> int:
        """Nothing in the ledger leads from a study to its copies in a project any more: participants, keys of
        requests, UIDs of copies and auto-IDs go; the counts stay. Returns the transfers; again changes nothing.
        """
        mine = select(transfer.c.id).where(transfer.c.project == project)
        with self._ledger.begin() as connection:
            rows = connection.execute(
                select(transfer.c.id, transfer.c.state, transfer.c.revision, transfer.c.generation).where(
                    transfer.c.project == project
                )
            ).all()
            for row in rows:
                name = f"ended-{row.id}"
                told = f"{row.state}:{row.revision}:{row.generation}"  # REDCap's row keeps what it says
                connection.execute(
                    update(transfer).where(transfer.c.id == row.id).values(
                        participant=name, event="", transfer_key=name, registry_state=told, requested_by="")
                )  # fmt: skip
            blank = dict.fromkeys(
                ("sop_instance_uid", "series_instance_uid", "study_instance_uid", "path", "sha256",
                 "header_sha256"), "",
            )  # fmt: skip
            connection.execute(
                update(release).where(release.c.transfer_id.in_(mine)).values(purged=True, **blank)
            )
            # names of packages hold the participant
            packages = and_(delivery.c.transfer_id.in_(mine), delivery.c.kind.in_(["package", "export"]))
            connection.execute(delivery.delete().where(packages))
            connection.execute(parcel.delete().where(parcel.c.transfer_id.in_(mine)))
            connection.execute(retired_copy.delete().where(retired_copy.c.transfer_id.in_(mine)))
            connection.execute(sent_copy.delete().where(sent_copy.c.transfer_id.in_(mine)))
            connection.execute(project_record.delete().where(project_record.c.transfer_id.in_(mine)))
            connection.execute(auto_id.delete().where(auto_id.c.project == project))
        return len(rows)

    def couplable(self, names: Collection[str]) -> list[Couplable]:
        """Registered studies with one of these accession numbers or Study Instance UIDs, and what they became."""
        wanted = sorted(names)
        found: dict[str, Couplable] = {}
        with self._ledger.read() as connection:
            for first in range(0, len(wanted), 400):
                some = wanted[first : first + 400]
                named = or_(
                    func.trim(study.c.accession_number).in_(some), study.c.study_instance_uid.in_(some)
                )
                ready = and_(study.c.registered_revision > 0, study.c.given_up_at.is_(None))
                rows = connection.execute(
                    select(study.c.key, study.c.accession_number, study.c.study_instance_uid,
                           transfer.c.project, transfer.c.participant, transfer.c.event)
                    .outerjoin(transfer, transfer.c.study_key == study.c.key).where(named, ready)
                )  # fmt: skip
                for row in rows:
                    one = found.setdefault(
                        row.key, Couplable(row.key, row.accession_number, row.study_instance_uid, set())
                    )
                    one.transfers.add((row.project, row.participant, row.event))
        return list(found.values())

    def sources_of_copy(self, study_instance_uid: str) -> list[int]:
        """Numbers of the transfers that made copies under this Study Instance UID, oldest first; those that were
        retired since as well, whose copies may still lie at a workstation.
        """
        released = and_(
            release.c.study_instance_uid == study_instance_uid, release.c.study_instance_uid != ""
        )
        with self._ledger.read() as connection:
            rows = connection.execute(
                select(release.c.transfer_id).where(released).distinct().order_by(release.c.transfer_id)
            )
            return [int(one) for one in rows.scalars()]

    def copies_among(self, sop_instance_uids: Collection[str]) -> set[str]:
        """Those of these SOP Instance UIDs that copies have which we made."""
        wanted, found = sorted(set(sop_instance_uids)), set[str]()
        with self._ledger.read() as connection:
            for first in range(0, len(wanted), 500):
                some: Any = release.c.sop_instance_uid.in_(wanted[first : first + 500])
                query = select(release.c.sop_instance_uid).where(some).distinct()
                found.update(str(one) for one in connection.execute(query).scalars())
        return found
