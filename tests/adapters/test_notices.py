"""Notices to a real SMTP conversation and a real web address; what did not arrive is said again."""

from __future__ import annotations

import hashlib
import hmac
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.notices import is_anything_due, say_what_is_due
from fiona_dagster.domain.routing import TransferRequest
from fiona_dagster.domain.transfer import TransferState
from fiona_dagster.settings import Settings, settings_from
from tests.factories import received


class _Mailbox(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as a client needs."""

    server: Any

    def handle(self) -> None:
        self._say("220 mail")
        while line := self.rfile.readline().decode().strip():
            word = line.split()[0].upper()
            if word == "DATA":
                self._say("354 go on")
                lines = []
                while (text := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                    lines.append(text)
                self.server.mails.append("\n".join(lines))
                self._say("250 taken")
            elif word == "RCPT" and self.server.refuses:
                self._say("451 later")
            elif word == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class _Hook(BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((body, self.headers["X-Fiona-Signature"]))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _running(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def mailbox() -> Iterator[Any]:
    server: Any = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Mailbox)
    server.mails, server.refuses = [], False
    with _running(server):
        yield server


@pytest.fixture
def hook() -> Iterator[Any]:
    server: Any = HTTPServer(("127.0.0.1", 0), _Hook)
    server.posts, server.status = [], 204
    with _running(server):
        yield server


@pytest.fixture
def settings(tmp_path: Path, mailbox: Any, hook: Any) -> Settings:
    mail = {"HOST": "127.0.0.1", "PORT": mailbox.server_address[1], "TLS": "none", "FROM": "fiona@h.example",
            "TO": ["a@h.example", "b@h.example"]}  # fmt: skip
    web = {"URL": f"http://127.0.0.1:{hook.server_address[1]}/x", "SECRET": "env:HOOK"}
    content = {"DATADIR": str(tmp_path), "NOTIFY": {"SMTP": mail, "WEBHOOK": web, "DIGESTHOUR": 0}}
    return settings_from(content, place="c", environment={"HOOK": "key"})


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")


def transfer(ledger: Ledger, state: TransferState, reason: str = "") -> str:
    key = ledger.reception.record([(received(), None)])["1.2.3"]
    made = ledger.transfers.request(key, TransferRequest("HEART", "Q7XYZ", "", "assign"), now=1.0)
    ledger.transfers.set_state(made.id, state, now=2.0, reason=reason)
    return key


def test_a_failure_is_said_once_on_every_channel_without_the_participant(
    ledger: Ledger, settings: Settings, mailbox: Any, hook: Any
) -> None:
    key = transfer(ledger, TransferState.FAILED, "delivery: refused the login")
    assert is_anything_due(ledger, settings, now=1e9)
    assert say_what_is_due(ledger, settings, now=1e9) == (2, [])
    (mail,), ((body, signature),) = mailbox.mails, hook.posts
    assert f"{key}  HEART  failed: delivery: refused the login" in mail
    assert "To: a@h.example, b@h.example" in mail
    assert json.loads(body)["events"][0]["study_key"] == key
    assert signature == "sha256=" + hmac.new(b"key", body, hashlib.sha256).hexdigest()
    assert "Q7XYZ" not in mail + body.decode()
    assert is_anything_due(ledger, settings, now=1e9) == ""
    assert say_what_is_due(ledger, settings, now=1e9) == (0, [])


def test_a_digest_comes_once_a_day_and_what_is_delivered_later_waits_for_the_next(
    ledger: Ledger, settings: Settings, mailbox: Any
) -> None:
    transfer(ledger, TransferState.DELIVERED)
    assert say_what_is_due(ledger, settings, now=1e9)[0] == 2
    assert "1 delivered" in mailbox.mails[0]
    ledger.transfers.set_state(1, TransferState.DELIVERED, now=3.0, packaged_revision=2)
    assert say_what_is_due(ledger, settings, now=1e9 + 60)[0] == 0
    assert say_what_is_due(ledger, settings, now=1e9 + 86_400)[0] == 2


def test_a_channel_that_is_down_hears_it_later_and_the_other_is_not_told_twice(
    ledger: Ledger, settings: Settings, mailbox: Any, hook: Any
) -> None:
    transfer(ledger, TransferState.HELD, "why")
    mailbox.refuses, hook.status = True, 500
    said, problems = say_what_is_due(ledger, settings, now=1e9)
    assert (said, len(problems)) == (0, 2)
    assert "127.0.0.1:" not in str(problems[1]), "an address may hold a token"
    mailbox.refuses = False
    assert say_what_is_due(ledger, settings, now=1e9)[0] == 1
    hook.status = 200
    assert say_what_is_due(ledger, settings, now=1e9)[0] == 1
    assert (len(mailbox.mails), len(hook.posts)) == (1, 3)


DAY = 86_400.0
NOON = 1_767_956_400.0
"""2026-01-09."""


def test_a_threshold_of_an_approval_is_said_once_on_every_channel(
    ledger: Ledger, settings: Settings, mailbox: Any, hook: Any
) -> None:
    assert ledger.projects.give_notice("HEART", "2026-04-01", 90, now=NOON)
    assert is_anything_due(ledger, settings, now=NOON)
    assert say_what_is_due(ledger, settings, now=NOON) == (2, [])
    assert "the approval of HEART ends in 82 days (2026-04-01)" in mailbox.mails[0]
    told = json.loads(hook.posts[0][0])
    assert (told["kind"], told["approvals"][0]["project"], told["approvals"][0]["days"]) == (
        "approval",
        "HEART",
        90,
    )
    # noted again four times an hour: it is the same
    assert not ledger.projects.give_notice("HEART", "2026-04-01", 90, now=NOON + 900)
    assert is_anything_due(ledger, settings, now=NOON + 900) == ""
    assert say_what_is_due(ledger, settings, now=NOON + 900) == (0, [])
    # the next threshold is another one, and so is the first of another end
    for ends, days, later in (("2026-04-01", 30, 60), ("2026-04-01", 0, 90), ("2027-04-01", 180, 300)):
        ledger.projects.give_notice("HEART", ends, days, now=NOON + later * DAY)
        assert say_what_is_due(ledger, settings, now=NOON + later * DAY)[0] == 2
    assert "has ended" in mailbox.mails[2]


def test_an_approval_is_said_later_to_a_channel_that_is_down_and_old_ones_never(
    ledger: Ledger, settings: Settings, mailbox: Any, hook: Any
) -> None:
    ledger.projects.give_notice("LONGAGO", "2025-09-01", 30, now=NOON - 100 * DAY)
    ledger.projects.give_notice("HEART", "2026-04-01", 180, now=NOON - DAY)
    ledger.projects.give_notice("HEART", "2026-04-01", 90, now=NOON)
    hook.status = 500
    said, problems = say_what_is_due(ledger, settings, now=NOON)
    assert (said, len(problems)) == (1, 1)
    hook.status = 200
    assert say_what_is_due(ledger, settings, now=NOON)[0] == 1
    assert len(mailbox.mails) == 1
    told = json.loads(hook.posts[-1][0])["approvals"]
    assert [(one["project"], one["days"]) for one in told] == [("HEART", 90)]
