"""Encrypted packages through packaging and delivery: what arrives, what opens it, and where the password never is."""

from __future__ import annotations

import io
import json
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from fiona_dagster.adapters.encryption import Seal, opens
from fiona_dagster.adapters.ledger.schema import metadata
from fiona_dagster.assets.tending import find_passwords
from fiona_dagster.domain.exports.formats import Encryption
from fiona_dagster.domain.exports.profiles import NATIVE
from fiona_dagster.domain.phases import Phase
from fiona_dagster.domain.transfer import TransferState
from tests.assets.test_packages_on_their_way import exporting, forwarded, only, queued, run, said
from tests.conftest import need_program
from tests.gateway import Gateway, failures, running_gateway

PASSWORD, OTHER = "a password of the lab", "another of the lab"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(tmp_path, DELIVERY={"lab": {"TRIPLES": True}}) as made:
        yield made
        assert made.ledger.inventory.totals().balance.holds


def encrypting(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, encryption: Encryption) -> Path:
    """Have BRAINAGE ask for an encrypted package; the file of its password, which is not there yet."""
    file = gateway.folder / "password of the lab"
    exporting(monkeypatch, replace(NATIVE, encryption=encryption, password_ref=f"file:{file}"))
    return file


def arrived(gateway: Gateway) -> dict[str, Path]:
    """What lies at the destination, by the endings of the names."""
    return {
        one.name.rpartition("native")[2]: one
        for one in (gateway.folder / "sftp" / "incoming").iterdir()
        if "native" in one.name
    }


def inner(package: Path) -> str:
    return f"{package.name.rpartition('_encrypted')[0]}.zip"


def everything_written(gateway: Gateway) -> bytes:
    """Ledger, outbox, proofs, run events and all else below the data directory, and what arrived."""
    found = [one.read_bytes() for one in gateway.settings.layout.datadir.rglob("*") if one.is_file()]
    found += [one.read_bytes() for one in (gateway.folder / "sftp").rglob("*") if one.is_file()]
    with gateway.ledger.read() as connection:
        for table in metadata.sorted_tables:
            found += [repr(row).encode() for row in connection.execute(select(table))]
    events = [
        repr(event)
        for record in gateway.instance.get_run_records()
        for event in gateway.instance.all_logs(record.dagster_run.run_id)
    ]
    return b"\n".join([*found, *(one.encode() for one in events)])


@pytest.mark.parametrize("encryption", ["zip", "7z"])
def test_an_encrypted_package_arrives_opens_with_its_password_and_the_password_is_nowhere(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, encryption: Encryption
) -> None:
    encrypting(gateway, monkeypatch, encryption).write_text(f"{PASSWORD}\n")
    forwarded(gateway)
    gateway.settle()
    assert (only(gateway).state, only(gateway).reason) == (TransferState.DELIVERED, "")
    there = arrived(gateway)
    assert set(there) == {
        f"_encrypted.{encryption}", f"_encrypted.{encryption}.md5", "_encrypted.md5sum", "_encrypted.json"
    }  # fmt: skip
    package = there[f"_encrypted.{encryption}"]
    subprocess.run([need_program("md5sum"), "-c", f"{package.name}.md5"], cwd=package.parent, check=True)
    program = need_program("7z", "7zz", "7za")
    command = [program, "x", "-so", f"-p{PASSWORD}", str(package)]
    plain = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    with zipfile.ZipFile(io.BytesIO(plain)) as archive:
        assert archive.testzip() is None
        assert sum(name.startswith("Baseline/DICOM/") for name in archive.namelist()) == 12
        assert "proof.json" in archive.namelist()
    wrong = [program, "t", f"-p{OTHER}", str(package)]
    assert subprocess.run(wrong, capture_output=True, check=False, timeout=60).returncode != 0
    beside = json.loads(there["_encrypted.json"].read_bytes())
    assert beside["encryption"] == encryption
    assert "files" not in beside
    written = everything_written(gateway)
    assert PASSWORD.encode() not in written
    assert package.name.encode() in written  # the search does find what is there


def test_what_is_resent_is_the_same_package_and_another_password_replaces_it(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = encrypting(gateway, monkeypatch, "zip")
    file.write_text(PASSWORD)
    key = forwarded(gateway)
    gateway.settle()
    package = arrived(gateway)["_encrypted.zip"]
    before = (package.read_bytes(), package.stat().st_mtime_ns)
    said(gateway, "resend", key)
    gateway.settle()
    assert (package.read_bytes(), package.stat().st_mtime_ns) == before
    file.write_text(OTHER)
    said(gateway, "resend", key)
    gateway.settle()
    assert opens(package, Seal("zip", OTHER, inner(package)))
    assert not opens(package, Seal("zip", PASSWORD, inner(package)))
    mine = only(gateway)
    done = run(gateway, "withdraw", "--project", mine.project, "--participant", mine.participant, "--json")
    receipts = json.loads(done.output)["content"]["receipts"]
    assert {one["kind"]: one["outcome"] for one in receipts if one["kind"] in ("package", "outbox")} == {
        "package": "gone", "outbox": "gone",
    }  # fmt: skip
    assert arrived(gateway) == {}
    layout = gateway.settings.layout
    assert not [one for one in layout.outbox.rglob("*") if one.is_file()]


def test_without_its_password_nothing_is_made_or_sent_a_person_hears_of_it_and_it_goes_once_it_is_there(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = encrypting(gateway, monkeypatch, "7z")
    key = forwarded(gateway)
    result = gateway.run(Phase.EXPORT, key, succeeds=False)
    assert "no usable password" in "".join(failures(result))
    assert queued(gateway) == {"native": "failed"}
    assert "the secret file" in said(gateway, "queue", "show", key)
    assert only(gateway).state is TransferState.FAILED
    assert only(gateway).reason.startswith("delivery: an encrypted package has no usable password")
    assert arrived(gateway) == {}
    assert not [one for one in gateway.settings.layout.outbox.iterdir() if one.is_file()]
    assert find_passwords(gateway.resource) == 0
    file.write_text("too short")
    assert find_passwords(gateway.resource) == 0
    doctor = run(gateway, "doctor").output
    assert "password of export native" in doctor
    assert "too short" not in doctor
    file.write_text(PASSWORD)
    assert find_passwords(gateway.resource) == 1
    gateway.settle()
    assert only(gateway).state is TransferState.DELIVERED
    assert "_encrypted.7z" in arrived(gateway)
    assert find_passwords(gateway.resource) == 0


def test_an_upload_that_broke_off_goes_on_with_the_same_package(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    encrypting(gateway, monkeypatch, "zip").write_text(PASSWORD)
    key = forwarded(gateway)
    gateway.sftp.faults.refuse_writes = True
    gateway.run(Phase.EXPORT, key, succeeds=False)
    (made,) = gateway.settings.layout.outbox.glob("*.zip")
    content = made.read_bytes()
    gateway.sftp.faults.refuse_writes = False
    half = gateway.folder / "sftp" / "incoming" / f".{made.name}.part"
    half.write_bytes(content[: len(content) // 2])
    said(gateway, "queue", "retry", key)
    result = gateway.run(Phase.EXPORT, key)
    assert arrived(gateway)["_encrypted.zip"].read_bytes() == content
    assert not half.exists()
    (done,) = [
        one
        for one in result.get_asset_materialization_events()
        if "deliveries" in one.materialization.metadata
    ]
    assert done.materialization.metadata["deliveries"].value == 1


def test_a_package_that_was_made_before_encryption_was_switched_on_never_goes(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = forwarded(gateway)
    gateway.sftp.faults.refuse_writes = True
    gateway.run(Phase.EXPORT, key, succeeds=False)
    (plain,) = gateway.settings.layout.outbox.glob("*native.zip")
    gateway.sftp.faults.refuse_writes = False
    encrypting(gateway, monkeypatch, "zip").write_text(PASSWORD)
    said(gateway, "queue", "retry", key)
    gateway.run(Phase.EXPORT, key)
    assert not plain.exists()
    assert set(arrived(gateway)) == {  # what was sent of the plain one is gone as well
        "_encrypted.zip", "_encrypted.zip.md5", "_encrypted.md5sum", "_encrypted.json",
    }  # fmt: skip
