"""Brings notices to people: by mail through the hospital's server, and as JSON to a web address."""

from __future__ import annotations

import hashlib
import hmac
import json
import smtplib
import ssl
import time
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import TYPE_CHECKING

from fiona_dagster.adapters.ledger.notices import DELIVERED, STOPPED
from fiona_dagster.domain.errors import FionaError, Permanent, Transient
from fiona_dagster.domain.notification import (
    Approval,
    Notice,
    SmtpSettings,
    WebhookSettings,
    approval_notice,
    digest_is_due,
    digest_notice,
    failure_notice,
)
from fiona_dagster.domain.project_life import approval_sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fiona_dagster.adapters.ledger import Ledger
    from fiona_dagster.domain.notification import Event
    from fiona_dagster.settings import Settings

ANSWER_SECONDS = 30.0
_DIGEST = "digest:"
_APPROVALS_SECONDS = 14 * 86_400.0


def is_anything_due(ledger: Ledger, settings: Settings, *, now: float) -> str:
    """A word that stands for what is to be said now, and changes with it; blank where nothing is."""
    due = []
    for channel in settings.notify.channels:
        due += [f"{channel}:{one.transfer_id}:{at}" for one, at in ledger.notices.untold(channel, STOPPED)]
        due += [f"{channel}:{one}" for one in _approvals_due(ledger, channel, now=now)]
        if _digest_due(ledger, settings, channel, now=now):
            due += [f"{channel}:{at}" for _, at in ledger.notices.untold(channel, DELIVERED, limit=1)]
    return hashlib.sha256("\n".join(due).encode()).hexdigest()[:16] if due else ""


def say_what_is_due(ledger: Ledger, settings: Settings, *, now: float) -> tuple[int, list[FionaError]]:
    """Say failures and approvals that end at once, and the digest once a day, on every channel that is configured.

    A channel that does not answer hears it later; the others are not kept waiting.

    Returns:
        How many notices were taken, and what went wrong.
    """
    said, problems = 0, []
    for channel in settings.notify.channels:
        stopped = ledger.notices.untold(channel, STOPPED)
        done: list[tuple[Event, str]] = []
        notices = [(failure_notice([event for event, _ in stopped]), stopped)]
        if _digest_due(ledger, settings, channel, now=now):
            done = ledger.notices.untold(channel, DELIVERED)
            notices.append((digest_notice([event for event, _ in done], waiting=len(_waiting(ledger))), done))
        try:
            for notice, told in notices:
                if notice is None:
                    continue
                say(notice, settings, channel)
                ledger.notices.told(channel, told, now=now)
                said += 1
                if notice.kind == "digest":
                    ledger.inventory.save_snapshot(_DIGEST + channel, {"at": now}, now=now)
            said += _say_approvals(ledger, settings, channel, now=now)
        except FionaError as error:
            problems.append(error)
    return said, problems


def _approvals_due(ledger: Ledger, channel: str, *, now: float) -> list[tuple[str, str, int]]:
    """Thresholds that were reached lately: who begins to be told hears nothing of long ago."""
    return ledger.notices.untold_approvals(channel, since=now - _APPROVALS_SECONDS)


def _say_approvals(ledger: Ledger, settings: Settings, channel: str, *, now: float) -> int:
    due = _approvals_due(ledger, channel, now=now)
    today = time.strftime("%Y-%m-%d", time.localtime(now))
    notice = approval_notice(
        [Approval(name, ends, days, approval_sentence(name, ends, today)) for name, ends, days in due]
    )
    if notice is None:
        return 0
    say(notice, settings, channel)
    ledger.notices.approvals_told(channel, due, now=now)
    return 1


def say(notice: Notice, settings: Settings, channel: str) -> None:
    """Bring one notice to one channel.

    Raises:
        Transient: it does not answer now.
        Permanent, ConfigurationError: it refuses, or its secret cannot be followed.
    """
    if channel == "smtp" and settings.notify.smtp is not None:
        mail = settings.notify.smtp
        _mail(notice, mail, settings.secret(mail.secret) if mail.user else "")
    elif channel == "webhook" and settings.notify.webhook is not None:
        hook = settings.notify.webhook
        _post(notice, hook, settings.secret(hook.secret) if hook.secret else "")


def _mail(notice: Notice, mail: SmtpSettings, password: str) -> None:
    message = EmailMessage()
    message["From"], message["To"] = mail.sender, ", ".join(mail.recipients)
    message["Subject"], message["Date"] = notice.subject, formatdate()
    message["Message-ID"] = make_msgid(domain=mail.sender.partition("@")[2])
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday replies
    message.set_content(notice.text)
    context = ssl.create_default_context()
    try:
        if mail.tls == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                mail.host, mail.port, timeout=ANSWER_SECONDS, context=context
            )
        else:
            server = smtplib.SMTP(mail.host, mail.port, timeout=ANSWER_SECONDS)
        with server:
            if mail.tls == "starttls":
                server.starttls(context=context)
            if mail.user:
                server.login(mail.user, password)
            refused = server.send_message(message)
        if refused:  # some took it: the others are not told twice for it
            raise Permanent(f"the mail server {mail.host} refuses {len(refused)} of the recipients")
    except smtplib.SMTPResponseException as error:  # its text may quote what was sent
        kind = Transient if 400 <= error.smtp_code < 500 else Permanent
        raise kind(f"the mail server {mail.host} answered {error.smtp_code}") from None
    except ssl.SSLCertVerificationError:
        raise Permanent(f"the certificate of the mail server {mail.host} cannot be trusted") from None
    except smtplib.SMTPRecipientsRefused:
        raise Permanent(f"the mail server {mail.host} refuses every recipient") from None
    except (smtplib.SMTPException, OSError) as error:
        raise Transient(f"the mail server {mail.host} does not answer ({type(error).__name__})") from None


def _post(notice: Notice, hook: WebhookSettings, secret: str) -> None:
    import requests

    body = json.dumps(notice.as_json(), sort_keys=True).encode()
    headers = {"Content-Type": "application/json"}
    if secret:
        digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers["X-Fiona-Signature"] = f"sha256={digest}"
    try:
        answer = requests.post(
            hook.url, data=body, headers=headers, timeout=ANSWER_SECONDS, allow_redirects=False
        )
    except requests.RequestException as error:  # its text names the address, which may hold a token
        raise Transient(f"the webhook does not answer ({type(error).__name__})") from None
    if not 200 <= answer.status_code < 300:
        kind = Transient if answer.status_code >= 500 or answer.status_code == 429 else Permanent
        raise kind(f"the webhook answered {answer.status_code}")


def _digest_due(ledger: Ledger, settings: Settings, channel: str, *, now: float) -> bool:
    last = ledger.inventory.snapshot(_DIGEST + channel)
    day = time.localtime(now)
    midnight = time.mktime((day.tm_year, day.tm_mon, day.tm_mday, 0, 0, 0, 0, 0, -1))
    return digest_is_due(
        last=float(last["at"]) if last else None,
        now=now,
        start_of_day=midnight,
        hour=settings.notify.digest_hour,
    )


def _waiting(ledger: Ledger) -> Sequence[object]:
    states = ledger.inventory.totals().transfers
    return range(sum(states.get(one.value, 0) for one in STOPPED))
