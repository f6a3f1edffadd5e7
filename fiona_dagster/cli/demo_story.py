"""What happens in the demo, shown as it happens, and compared at its end with what should have happened."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.live import Live
from rich.table import Table

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.studies import StudyRecord
from fiona_dagster.domain.transfer import Balance, Transfer, TransferState
from fiona_dagster.embedded.samples import SampleStudy
from fiona_dagster.settings import DicomPeer, Settings

if TYPE_CHECKING:
    from rich.console import Console

    from fiona_dagster.cli.demo_hospital import Hospital


@dataclass(frozen=True)
class Standing:
    """Where a sample stands."""

    sample: SampleStudy
    study: StudyRecord | None
    transfer: Transfer | None
    balance: Balance

    @property
    def stage(self) -> str:
        study, transfer = self.study, self.transfer
        if study is None:
            return "at the scanner"
        if transfer is not None and transfer.state != TransferState.REQUESTED:
            return transfer.state.value
        stages = (
            (study.arrived_count < study.instance_count, "arriving"),
            (study.registered_revision < study.revision, "intake"),
            (bool(study.held_reason), "held for assignment"),
        )
        return next((name for found, name in stages if found), "transfer")


class Story:
    """Sends the samples one after the other, late images after the first revision arrived, and watches the ledger."""

    def __init__(self, hospital: Hospital, settings: Settings, ledger: Ledger, console: Console) -> None:
        self._hospital, self._settings, self._ledger, self._console = hospital, settings, ledger, console
        self._receiver = DicomPeer("FIONA", "127.0.0.1", settings.default_site.port)
        self._live: Live | None = None
        self._late = {one.name for one in hospital.samples if one.late}
        self._sent = False
        self._told: dict[str, str] = {}
        self._sender = threading.Thread(target=self._send, name="scanner", daemon=True)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the table while the body runs; the scanner starts sending."""
        self._sender.start()
        with Live(self._table(self._standings()), console=self._console, refresh_per_second=2) as live:
            self._live = live
            yield
            live.update(self._table(self._standings()))
        self._live = None

    def go_on(self) -> None:
        """Send late images whose time has come, and show where everything stands."""
        standings = self._standings()
        for one in standings:
            if one.sample.name in self._late and one.transfer is not None and one.transfer.revision >= 1:
                self._late.discard(one.sample.name)
                self._hospital.scanner.push(one.sample, self._receiver, "late")
        if self._live is not None:
            self._live.update(self._table(standings))
        self._tell_stages(standings)

    def _tell_stages(self, standings: list[Standing]) -> None:
        """Without a terminal there is no table to watch: say what moves."""
        for one in standings:
            stage = f"{one.stage}, revision {one.study.revision}" if one.study else one.stage
            if not self._console.is_terminal and self._told.get(one.sample.name, "at the scanner") != stage:
                self._console.print(f"{one.sample.name}: {stage}", highlight=False)
            self._told[one.sample.name] = stage

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen by itself."""
        if not self._sent or self._late:
            return False
        return all(self._is_settled(one) for one in self._standings())

    def problems(self) -> list[str]:
        """What is not as it should be: asked of the destinations themselves, not only of our ledger."""
        found = [text for one in self._standings() for text in self._problems_of(one)]
        if not self.settled:
            found.append("not everything was settled in time")
        totals = self._ledger.inventory.totals()
        if not totals.balance.holds:
            found.append(f"the conservation law does not hold: {totals.balance}")
        refused = sum(len(one.corrupt) for one in self._hospital.samples)
        if totals.refused < refused:
            found.append(f"{refused} damaged instances were sent, {totals.refused} were refused")
        return found

    def conclude(self, problems: list[str], *, webserver: str) -> None:
        """Say how it ended, and where to look; `webserver` is '' where nothing goes on serving."""
        console = self._console
        console.print()
        for reason, count in self._ledger.inventory.totals().held_reasons.items():
            console.print(f"  {count} held: {reason}", highlight=False)
        for refusal in self._ledger.inventory.refusals():
            console.print(
                f"  1 refused: 0x{refusal.status:04X} {refusal.reason}; kept in {refusal.path}",
                highlight=False,
            )
        for text in problems:
            console.print(f"[red]not as it should be:[/red] {text}", highlight=False)
        if not problems:
            console.print("[green]Everything that should be delivered is delivered and confirmed; "
                          "everything that should be held is held with its reason.[/green]")  # fmt: skip
        if webserver:
            console.print(f"Dagster  {webserver}/asset-groups", highlight=False)
            console.print(f"REDCap   {self._hospital.redcap_page}", highlight=False)
        console.print(f"packages {self._settings.layout.delivered}", highlight=False)
        console.print(f"sent to  {self._hospital.sftp_folder}", highlight=False)
        console.print(
            f"try      .venv/bin/fiona status --config {self._hospital.config_file}", highlight=False
        )

    def _send(self) -> None:
        scanner = self._hospital.scanner
        for sample in self._hospital.samples:
            scanner.push(sample, self._receiver, associations=2)
            scanner.push(sample, self._receiver, "corrupt")
            scanner.push(sample, self._receiver, "other content")
        self._sent = True

    def _standings(self) -> list[Standing]:
        by_uid = {one.study_instance_uid: one for one in self._ledger.studies.all()}
        standings = []
        for sample in self._hospital.samples:
            study = by_uid.get(sample.study_instance_uid)
            transfers = self._ledger.transfers.of_study(study.key) if study else []
            transfer = transfers[0] if transfers else None
            if transfer is not None:
                balance = self._ledger.transfers.balance(transfer.id)
            else:
                count = study.instance_count if study else 0
                balance = Balance(count, held=count)
            standings.append(Standing(sample, study, transfer, balance))
        return standings

    def _is_settled(self, one: Standing) -> bool:
        if one.study is None or one.study.instance_count < _expected_received(one.sample):
            return False
        if not one.sample.coupled:
            return bool(one.study.held_reason)
        ends = (TransferState.DELIVERED, TransferState.HELD, TransferState.FAILED)
        return (
            one.transfer is not None
            and one.transfer.state in ends
            and one.study.arrived_count == one.study.instance_count
            and one.study.routed_revision == one.study.revision
        )

    def _problems_of(self, one: Standing) -> list[str]:
        sample, name = one.sample, one.sample.name
        if one.study is None:
            return [f"{name}: nothing was received"]
        if one.study.instance_count != _expected_received(sample):
            return [
                f"{name}: {_expected_received(sample)} instances were sent, {one.study.instance_count} received"
            ]
        if not sample.coupled:
            return (
                []
                if one.study.held_reason and one.transfer is None
                else [f"{name}: should be held for assignment"]
            )
        if one.transfer is None or one.transfer.state != TransferState.DELIVERED:
            reason = one.transfer.reason if one.transfer else "no transfer"
            return [f"{name}: is {one.stage}, not delivered ({reason})"]
        wanted = Balance(
            _expected_received(sample), released=sample.instance_count, held=len(sample.other_content)
        )
        if one.balance != wanted:
            return [f"{name}: {one.balance}, expected {wanted}"]
        return self._undelivered(one.transfer, name)

    def _undelivered(self, transfer: Transfer, name: str) -> list[str]:
        from fiona_dagster.adapters.dicom_scu import query_instances

        rows = [row for row in self._ledger.transfers.release_rows(transfer.id) if row.path]
        there = query_instances(self._hospital.research_pacs, "DEMO", rows[0].study_instance_uid)
        problems = []
        if there != {row.sop_instance_uid for row in rows}:
            problems.append(f"{name}: the research PACS has {len(there)} of {len(rows)} instances")
        for package in self._ledger.deliveries.of_transfer(transfer.id):
            if package.kind != "package" or package.revision != transfer.revision:
                continue
            path = self._hospital.sftp_folder / package.name
            if not path.is_file() or hashlib.md5(path.read_bytes()).hexdigest() != package.checksum:  # noqa: S324
                problems.append(f"{name}: the package at the SFTP server is not the one that was sent")
        return problems

    def _table(self, standings: list[Standing]) -> Table:
        table = Table(title="From the scanner to the research PACS and the SFTP server", title_justify="left")
        for column in ("study", "what", "stage", "rev."):
            table.add_column(column, no_wrap=column == "study")
        for column in ("received", "released", "held", "failed"):
            table.add_column(column, justify="right")
        table.add_column("copy and package")
        for one in standings:
            balance = one.balance
            table.add_row(
                one.study.key if one.study else "", one.sample.name, one.stage,
                str(one.study.revision) if one.study else "",
                str(balance.received), str(balance.released), str(balance.held), str(balance.failed), self._where(one),
            )  # fmt: skip
        return table

    def _where(self, one: Standing) -> str:
        if one.transfer is None:
            return one.study.held_reason or "" if one.study else ""
        if one.transfer.reason and one.transfer.state in (TransferState.HELD, TransferState.FAILED):
            return one.transfer.reason
        kinds = {"pacs": "PACS", "package": "SFTP"}
        confirmed = [
            f"{kinds[record.kind]} ✓ {record.instance_count}"
            for record in self._ledger.deliveries.of_transfer(one.transfer.id)
            if record.state == "confirmed"
        ]
        return "  ".join(confirmed)


def _expected_received(sample: SampleStudy) -> int:
    return sample.instance_count + len(sample.other_content)
