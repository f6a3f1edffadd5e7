from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from fiona_dagster.adapters import folder_destination, sftp
from fiona_dagster.adapters.package_files import manifest_file
from fiona_dagster.domain.delivery import TakenOut
from fiona_dagster.domain.delivery_settings import DeliveryTerms
from fiona_dagster.domain.errors import Permanent, Transient
from fiona_dagster.domain.packaging import Package, md5_line
from fiona_dagster.domain.project import Destination
from fiona_dagster.embedded.sftp import EmbeddedSftp
from tests.conftest import free_port
from tests.deliverables import a_package
from tests.sshd import Sshd, running_sshd

PASSWORD = "correct horse battery"


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return a_package(tmp_path / "outbox")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedSftp]:
    with EmbeddedSftp(tmp_path / "server", users={"fiona": PASSWORD}) as running:
        (running.root / "in").mkdir()
        yield running


@pytest.fixture
def destination(server: EmbeddedSftp) -> Destination:
    return Destination(
        "archive", "sftp", server.host, server.port, "in", "fiona", "env:X", server.known_hosts
    )


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def _deliver(package: Package, destination: Destination, secret: str = PASSWORD) -> int:
    return sftp.deliver(package, destination, secret, transfer_id=7, clock=lambda: 5.0).sent_bytes


def _whole(folder: Path, package: Package) -> bool:
    """Exactly the package and its `.md5`, byte for byte."""
    return (
        sorted(p.name for p in folder.iterdir()) == [package.name, f"{package.name}.md5"]
        and (folder / package.name).read_bytes() == package.path.read_bytes()
        and (folder / f"{package.name}.md5").read_text() == md5_line(package.name, package.md5)
    )


def test_a_package_arrives_with_its_md5_and_a_receipt(
    server: EmbeddedSftp, destination: Destination, package: Package
) -> None:
    receipt = sftp.deliver(package, destination, PASSWORD, transfer_id=7, clock=lambda: 5.0)
    assert _whole(server.root / "in", package)
    assert (receipt.transfer_id, receipt.destination, receipt.package) == (7, "archive", package.name)
    assert (receipt.size_bytes, receipt.md5, receipt.confirmed_at) == (package.size_bytes, package.md5, 5.0)
    assert receipt.place == f"sftp://127.0.0.1:{server.port}/in/{package.name}"
    assert PASSWORD not in repr(receipt)


def test_what_is_there_already_is_not_sent_again(
    server: EmbeddedSftp, destination: Destination, package: Package
) -> None:
    _deliver(package, destination)
    before = (server.root / "in" / package.name).stat().st_mtime_ns
    assert _deliver(package, destination) == 0
    assert (server.root / "in" / package.name).stat().st_mtime_ns == before


def test_a_package_of_the_same_size_but_other_content_is_replaced(
    server: EmbeddedSftp, destination: Destination, package: Package
) -> None:
    (server.root / "in" / package.name).write_bytes(bytes(package.size_bytes))
    assert _deliver(package, destination) == package.size_bytes
    assert _whole(server.root / "in", package)


def test_a_missing_or_wrong_md5_is_mended_without_sending_the_package(
    server: EmbeddedSftp, destination: Destination, package: Package
) -> None:
    _deliver(package, destination)
    (server.root / "in" / f"{package.name}.md5").write_text("wrong")
    assert _deliver(package, destination) == 0
    assert _whole(server.root / "in", package)


@pytest.mark.parametrize("dropped_at", [1, 100_000, 299_999])
def test_an_interrupted_upload_goes_on_where_it_was(
    server: EmbeddedSftp, destination: Destination, package: Package, dropped_at: int
) -> None:
    server.faults.drop_after_bytes = dropped_at
    with pytest.raises(Transient):
        _deliver(package, destination)
    assert not (server.root / "in" / package.name).exists()
    assert _deliver(package, destination) == package.size_bytes - dropped_at
    assert _whole(server.root / "in", package)


@pytest.mark.parametrize("part", [b"", b"something else", bytes(400_000)])
def test_a_part_that_is_not_ours_is_started_again(
    server: EmbeddedSftp, destination: Destination, package: Package, part: bytes
) -> None:
    (server.root / "in" / f".{package.name}.part").write_bytes(part)
    assert _deliver(package, destination) == package.size_bytes
    assert _whole(server.root / "in", package)


def test_a_part_that_is_complete_is_only_renamed(
    server: EmbeddedSftp, destination: Destination, package: Package
) -> None:
    (server.root / "in" / f".{package.name}.part").write_bytes(package.path.read_bytes())
    assert _deliver(package, destination) == 0
    assert _whole(server.root / "in", package)


def test_bytes_that_were_changed_on_the_way_are_noticed_and_never_get_the_name(
    server: EmbeddedSftp, destination: Destination, package: Package
) -> None:
    server.faults.corrupt_writes = True
    with pytest.raises(Transient, match="differs"):
        _deliver(package, destination)
    assert list((server.root / "in").iterdir()) == []
    server.faults.corrupt_writes = False
    _deliver(package, destination)
    assert _whole(server.root / "in", package)


def test_a_server_that_takes_no_writes_is_a_transient_error(
    server: EmbeddedSftp, destination: Destination, package: Package
) -> None:
    server.faults.refuse_writes = True
    with pytest.raises(Transient, match="is its disk full"):
        _deliver(package, destination)
    assert not (server.root / "in" / package.name).exists()


def test_a_package_that_changed_in_the_outbox_is_not_delivered(
    server: EmbeddedSftp, destination: Destination, package: Package
) -> None:
    package.path.write_bytes(package.path.read_bytes()[:-1] + b"?")
    with pytest.raises(Permanent, match="build it again"):
        _deliver(package, destination)
    assert list((server.root / "in").iterdir()) == []
    package.path.unlink()
    with pytest.raises(Permanent, match="not in the outbox"):
        _deliver(package, destination)


def test_a_wrong_password_is_permanent_and_not_repeated_in_the_message(
    destination: Destination, package: Package
) -> None:
    with pytest.raises(Permanent, match="refused the login of 'fiona'") as raised:
        _deliver(package, destination, "wrong-secret")
    assert "wrong-secret" not in str(raised.value)


def test_a_key_logs_in_and_another_does_not(tmp_path: Path, package: Package) -> None:
    ours, other = (paramiko.ECDSAKey.generate(bits=256) for _ in range(2))
    users = {"fiona": f"{ours.get_name()} {ours.get_base64()} fiona@gateway"}
    with EmbeddedSftp(tmp_path / "server", users=users) as server:
        destination = Destination("a", "sftp", server.host, server.port, ".", "fiona", "", server.known_hosts)
        assert _deliver(package, destination, _pem(ours, tmp_path / "ours")) == package.size_bytes
        with pytest.raises(Permanent, match="refused the login"):
            _deliver(package, destination, _pem(other, tmp_path / "other"))
        with pytest.raises(Permanent, match="refused the login"):
            _deliver(package, destination, users["fiona"])  # the public key is no password


def test_a_key_that_cannot_be_used_says_why_without_its_text(
    destination: Destination, package: Package
) -> None:
    with pytest.raises(Permanent, match="no Ed25519, ECDSA or RSA key") as raised:
        _deliver(
            package,
            destination,
            "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----",
        )
    assert "c2VjcmV0" not in str(raised.value)


def test_a_key_with_a_passphrase_is_refused_with_what_to_do(
    destination: Destination, package: Package, tmp_path: Path
) -> None:
    paramiko.ECDSAKey.generate(bits=256).write_private_key_file(str(tmp_path / "key"), password="phrase")
    with pytest.raises(Permanent, match="passphrase"):
        _deliver(package, destination, (tmp_path / "key").read_text())


def test_an_unknown_host_key_is_refused_before_the_password_is_sent(
    destination: Destination, package: Package
) -> None:
    foreign = replace(destination, known_hosts=destination.known_hosts.replace(str(destination.port), "1"))
    with pytest.raises(Permanent, match=r"is unknown.*SHA256:"):
        _deliver(package, foreign)


def test_a_changed_host_key_is_refused(destination: Destination, package: Package) -> None:
    host, kind, _ = destination.known_hosts.split()
    other = paramiko.ECDSAKey.generate(bits=256).get_base64()
    with pytest.raises(Permanent, match="is not the one in known_hosts"):
        _deliver(package, replace(destination, known_hosts=f"{host} {kind} {other}"))


def test_without_known_hosts_nobody_is_trusted(destination: Destination, package: Package) -> None:
    with pytest.raises(Permanent, match="ssh-keyscan"):
        _deliver(package, replace(destination, known_hosts=""))


def test_known_hosts_may_be_a_file(destination: Destination, package: Package, tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"# ours\n@revoked * ssh-rsa AAAA\nnonsense\n{destination.known_hosts}\n")
    assert _deliver(package, replace(destination, known_hosts=str(file))) == package.size_bytes
    with pytest.raises(Permanent, match="cannot be read"):
        _deliver(package, replace(destination, known_hosts=str(tmp_path / "absent")))


def test_a_revoked_host_key_is_refused(destination: Destination, package: Package) -> None:
    revoked = f"{destination.known_hosts}\n@revoked * {destination.known_hosts.partition(' ')[2]}"
    with pytest.raises(Permanent, match="is revoked"):
        _deliver(package, replace(destination, known_hosts=revoked))


def test_a_host_that_is_away_is_a_transient_error(destination: Destination, package: Package) -> None:
    with pytest.raises(Transient, match="cannot be reached"):
        _deliver(package, replace(destination, port=free_port(), known_hosts=destination.known_hosts))


def test_a_folder_that_is_missing_is_never_made(
    server: EmbeddedSftp, destination: Destination, package: Package
) -> None:
    with pytest.raises(Permanent, match="has no folder 'typo'"):
        _deliver(package, replace(destination, path="typo"))
    assert not (server.root / "typo").exists()


def test_the_check_leaves_nothing_behind(server: EmbeddedSftp, destination: Destination) -> None:
    assert "takes, gives back and deletes" in sftp.check(destination, PASSWORD)
    assert list((server.root / "in").iterdir()) == []
    with pytest.raises(Permanent):
        sftp.check(destination, "wrong")


def test_progress_ends_with_all_bytes(destination: Destination, package: Package) -> None:
    told: list[tuple[int, int]] = []
    sftp.deliver(
        package, destination, PASSWORD, transfer_id=1, progress=lambda done, all_: told.append((done, all_))
    )
    assert told[-1] == (package.size_bytes, package.size_bytes)


def test_openssh_takes_a_package_resumes_it_and_replaces_it(sshd: Sshd, tmp_path: Path) -> None:
    folder = sshd.root / "packages"
    folder.mkdir()
    destination = Destination("a", "sftp", sshd.host, sshd.port, "packages", sshd.user, "", sshd.known_hosts)
    package = a_package(tmp_path / "outbox", size=5_000_000)
    (folder / f".{package.name}.part").write_bytes(package.path.read_bytes()[:1_234_567])
    assert _deliver(package, destination, sshd.key) == package.size_bytes - 1_234_567
    assert _whole(folder, package)
    assert _deliver(package, destination, sshd.key) == 0
    newer = a_package(tmp_path / "newer", size=6_000_000)
    assert _deliver(newer, destination, sshd.key) == newer.size_bytes
    assert _whole(folder, newer)
    assert "takes, gives back" in sftp.check(destination, sshd.key)


def test_what_a_person_takes_out_on_the_way_leaves_nothing_there_and_can_be_sent_again(
    sshd: Sshd, package: Package, tmp_path: Path
) -> None:
    (sshd.root / "taken").mkdir()
    (tmp_path / "share").mkdir()
    there = Destination("a", "sftp", sshd.host, sshd.port, "taken", sshd.user, "", sshd.known_hosts)
    share = Destination("b", "folder", path=str(tmp_path / "share"))
    with pytest.raises(TakenOut):
        sftp.deliver(package, there, sshd.key, transfer_id=7, stop=lambda: True)
    with pytest.raises(TakenOut):
        folder_destination.deliver(package, share, transfer_id=7, stop=lambda: True)
    assert [*(sshd.root / "taken").iterdir(), *(tmp_path / "share").iterdir()] == []
    assert sftp.deliver(package, there, sshd.key, transfer_id=7, stop=lambda: False).sent_bytes > 0
    assert _whole(sshd.root / "taken", package)


def test_openssh_without_a_shell_is_read_back(tmp_path: Path) -> None:
    with running_sshd(tmp_path / "sshd", only_sftp=True) as sshd:
        folder = sshd.root.resolve()
        destination = Destination(
            "a", "sftp", sshd.host, sshd.port, str(folder), sshd.user, "", sshd.known_hosts
        )
        package = a_package(tmp_path / "outbox", size=3_000_001)
        assert _deliver(package, destination, sshd.key) == package.size_bytes
        assert _whole(folder, package)
        (folder / package.name).write_bytes(bytes(package.size_bytes))
        assert _deliver(package, destination, sshd.key) == package.size_bytes
        assert _whole(folder, package)


def test_openssh_refuses_a_password_where_only_keys_are_allowed(sshd: Sshd, package: Package) -> None:
    destination = Destination("a", "sftp", sshd.host, sshd.port, ".", sshd.user, "", sshd.known_hosts)
    with pytest.raises(Permanent, match="refused the login"):
        _deliver(package, destination, "password")


def test_a_folder_gets_the_package_its_md5_and_nothing_twice(package: Package, tmp_path: Path) -> None:
    folder = tmp_path / "share"
    folder.mkdir()
    destination = Destination("share", "folder", path=str(folder))
    receipt = folder_destination.deliver(package, destination, transfer_id=7, clock=lambda: 5.0)
    assert _whole(folder, package)
    assert (receipt.sent_bytes, receipt.place) == (package.size_bytes, str(folder / package.name))
    assert folder_destination.deliver(package, destination, transfer_id=7).sent_bytes == 0
    (folder / package.name).write_bytes(bytes(package.size_bytes))
    assert folder_destination.deliver(package, destination, transfer_id=7).sent_bytes == package.size_bytes
    assert _whole(folder, package)
    assert "takes, gives back" in folder_destination.check(destination)
    assert len(list(folder.iterdir())) == 2


def test_a_folder_gets_fionas_triple_where_it_is_asked_for(package: Package, tmp_path: Path) -> None:
    folder, stem = tmp_path / "share", package.name.removesuffix(".zip")
    folder.mkdir()
    destination, terms = Destination("share", "folder", path=str(folder)), DeliveryTerms(triples=True)
    with pytest.raises(Permanent, match="manifest"):
        folder_destination.deliver(package, destination, transfer_id=7, terms=terms)
    manifest_file(package.path).write_bytes(b"{}")
    folder_destination.deliver(package, destination, transfer_id=7, terms=terms)
    assert {one.name for one in folder.iterdir()} == {
        package.name, f"{package.name}.md5", f"{stem}.md5sum", f"{stem}.json",
    }  # fmt: skip


def test_a_share_that_is_not_mounted_is_not_made(package: Package, tmp_path: Path) -> None:
    destination = Destination("share", "folder", path=str(tmp_path / "absent"))
    for act in (lambda: folder_destination.deliver(package, destination, transfer_id=7),
                lambda: folder_destination.check(destination)):  # fmt: skip
        with pytest.raises(Permanent, match="mount its share"):
            act()
    assert not (tmp_path / "absent").exists()


def test_a_changed_package_reaches_no_folder(package: Package, tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    package.path.write_bytes(b"changed")
    with pytest.raises(Permanent, match="build it again"):
        folder_destination.deliver(
            package, Destination("share", "folder", path=str(tmp_path / "share")), transfer_id=7
        )
    assert list((tmp_path / "share").iterdir()) == []


def _pem(key: paramiko.PKey, path: Path) -> str:
    key.write_private_key_file(str(path))
    return path.read_text().strip()
