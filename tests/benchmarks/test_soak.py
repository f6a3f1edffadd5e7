"""The soak in short, and that its verdict sees what it is there for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from benchmarks import soak
from benchmarks.soak_account import Account, verdict
from benchmarks.soak_images import OTHER_STUDY, Census, Instance, sha256
from fiona_dagster.adapters import fiona_layout
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.received_files import file_meta
from fiona_dagster.adapters.spool import Spool
from fiona_dagster.adapters.uploads import Upload
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.reception import Peer
from fiona_dagster.settings import Site
from scp_listener.recovery import recover

ONE = Instance(1, 1, 1, 1, "mr")


def test_a_short_soak_keeps_the_law(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--minutes", "0.08", "--senders", "6", "--workers", "2", "--fault-seconds", "1.5"]
    log = tmp_path / "listener.log"
    code = soak.main([*arguments, "--megabytes", "30", "--folder", str(tmp_path), "--keep-log", str(log)])
    report = json.loads(capsys.readouterr().out)
    assert report["violations"] == [], log.read_text()[-3000:]
    assert code == 0
    assert report["contents_acknowledged"] > 0
    assert not list(tmp_path.glob("fiona-soak-*"))


def test_the_same_seed_gives_the_same_instances() -> None:
    first, second = ([sha256(one.data_set()) for one in Census(7, 5).study()] for _ in range(2))
    assert first == second
    assert (
        Instance(1, 1, 1, 1, "ct", OTHER_STUDY).sop_instance_uid
        == Instance(1, 1, 1, 1, "ct").sop_instance_uid
    )


def in_the_archive(layout: Layout, one: Instance) -> Path:
    """Stored and recorded, as by the listener."""
    layout.ensure()
    spool = Spool(layout)
    data = one.data_set()
    meta = file_meta(one.sop_class_uid, one.sop_instance_uid, "1.2.840.10008.1.2.1", "SOAK")
    upload = Upload.begin(spool.incoming("gone"), meta)
    upload.write(memoryview(data))
    placed = spool.place(upload, one.study_instance_uid, one.sop_instance_uid)
    upload.close()
    fiona_layout.rebuild_study(layout, one.study_instance_uid, Peer("SOAK", "FIONA", "::1"))
    ledger = Ledger(f"sqlite:///{layout.ledger}")
    recover(Site("ABCD", layout, "127.0.0.1", 0, "FIONA"), ledger)
    ledger.close()
    return placed.path


def sent(account: Account, one: Instance, *statuses: int) -> None:
    content = (one.sop_instance_uid, sha256(one.data_set()))
    for status in statuses:
        account.attempt(content, 1)
        account.answered(content, status)


def sql(layout: Layout, statement: str) -> None:
    ledger = Ledger(f"sqlite:///{layout.ledger}")
    with ledger.begin() as connection:
        connection.execute(text(statement))
    ledger.close()


def test_what_is_there_as_it_was_acknowledged_breaks_nothing(layout: Layout) -> None:
    account = Account()
    in_the_archive(layout, ONE)
    sent(account, ONE, 0)
    found = verdict(account, layout, crashed=False)
    assert found.violations == []
    assert (found.counts["recorded"], found.counts["contents_acknowledged"]) == (1, 1)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda _, path: path.unlink(), "LOST"),
        (lambda _, path: path.write_bytes(path.read_bytes()[:-2] + b"??"), "CHANGED"),
        (lambda layout, _: sql(layout, "delete from instance"), "LOST"),
        (lambda layout, _: sql(layout, "update instance set receptions = 2"), "COUNTED TWICE"),
        (lambda layout, _: sql(layout, "update instance set receptions = 0"), "NOT COUNTED"),
        (lambda layout, _: sql(layout, "update study set instance_count = 2"), "counts 2 instances"),
        (lambda _, path: path.with_name("1.2.3").write_bytes(b"x"), "not in the ledger"),
        (lambda layout, _: (layout.incoming / "1.dcm").write_bytes(b"x"), "still in .incoming"),
        (lambda layout, _: (layout.refused / "1.dcm").write_bytes(b"x"), "kept in the quarantine"),
    ],
)
def test_damage_is_seen(layout: Layout, damage: Callable[[Layout, Path], object], said: str) -> None:
    account = Account()
    path = in_the_archive(layout, ONE)
    sent(account, ONE, 0)
    damage(layout, path)
    assert [one for one in verdict(account, layout, crashed=False).violations if said in one]


def test_an_instance_that_nobody_sent_and_a_valid_one_refused_are_seen(layout: Layout) -> None:
    account = Account()
    in_the_archive(layout, ONE)
    sent(account, Instance(1, 1, 1, 2, "mr"), 0xC000)
    found = verdict(account, layout, crashed=True).violations
    assert [one.partition(":")[0] for one in found] == ["MADE UP", "a valid instance was answered 0xC000"]
