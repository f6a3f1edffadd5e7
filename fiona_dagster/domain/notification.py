"""Who is told what became of the work: failures at once, successes once a day; never of whom the images are.

A notice names study keys, projects, counts and reasons, which hold no patient data (design, law 8); participants are
left out as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from fiona_dagster.domain.configuration_values import choice_of, number_of, object_of, texts_of, unknown_keys
from fiona_dagster.domain.errors import ConfigurationError

NOTIFY_KEYS = frozenset({"SMTP", "WEBHOOK", "DIGESTHOUR"})
SMTP_KEYS = frozenset({"HOST", "PORT", "FROM", "TO", "TLS", "USER", "SECRET"})
WEBHOOK_KEYS = frozenset({"URL", "SECRET"})
_MOST_LINES = 100


@dataclass(frozen=True)
class SmtpSettings:
    """A mail server. `tls`: none, starttls or tls; `secret`: a reference to the password."""

    host: str
    port: int
    sender: str
    recipients: tuple[str, ...]
    tls: str = "starttls"
    user: str = ""
    secret: str = ""


@dataclass(frozen=True)
class WebhookSettings:
    """A web address that takes notices as JSON. `secret`: a reference to the key that signs them, or blank."""

    url: str
    secret: str = ""


@dataclass(frozen=True)
class NotifySettings:
    """Where notices go. `digest_hour`: of the day, local time, from which the digest of the day before is due."""

    smtp: SmtpSettings | None = None
    webhook: WebhookSettings | None = None
    digest_hour: int = 6

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of what is configured."""
        return tuple(name for name in ("smtp", "webhook") if getattr(self, name) is not None)


@dataclass(frozen=True)
class Event:
    """A transfer that stopped or was delivered. `instances`: released ones."""

    transfer_id: int
    study_key: str
    project: str
    state: str
    reason: str = ""
    instances: int = 0


@dataclass(frozen=True)
class Approval:
    """An approval that ends, or has ended: `days` is the threshold that was reached, 0 behind the end."""

    project: str
    approval_ends: str
    days: int
    sentence: str


@dataclass(frozen=True)
class Notice:
    """What is said: `kind` is failure, digest or approval."""

    kind: str
    subject: str
    events: tuple[Event, ...]
    approvals: tuple[Approval, ...] = ()

    @property
    def text(self) -> str:
        """The body of a mail."""
        lines = [one.sentence for one in self.approvals]
        lines += [_line(one) for one in self.events[:_MOST_LINES]]
        if len(self.events) > _MOST_LINES:
            lines.append(f"... and {len(self.events) - _MOST_LINES} more; `fiona status` shows all")
        return "\n".join([self.subject, "", *lines, ""])

    def as_json(self) -> dict[str, Any]:
        """The body of a webhook."""
        return {"format": "fiona-notice/1", "kind": self.kind, "subject": self.subject,
                "events": [asdict(one) for one in self.events],
                "approvals": [asdict(one) for one in self.approvals]}  # fmt: skip


def failure_notice(events: Sequence[Event]) -> Notice | None:
    """What is said at once of transfers that were held or failed; None of none."""
    if not events:
        return None
    count = Counter(one.state for one in events)
    said = " and ".join(f"{number} {state}" for state, number in sorted(count.items()))
    return Notice("failure", f"FIONA: {said} transfer(s) need a person", tuple(events))


def digest_notice(events: Sequence[Event], *, waiting: int) -> Notice | None:
    """What is said once a day of what was delivered; None where nothing was.

    Args:
        events: deliveries since the last digest.
        waiting: transfers that are held or failed at present.
    """
    if not events:
        return None
    images = sum(one.instances for one in events)
    subject = f"FIONA: {len(events)} delivered with {images} image(s), {waiting} wait for a person"
    return Notice("digest", subject, tuple(events))


def approval_notice(approvals: Sequence[Approval]) -> Notice | None:
    """What is said once a threshold of approvals that end; None of none."""
    if not approvals:
        return None
    names = ", ".join(one.project for one in approvals)
    return Notice("approval", f"FIONA: approvals that end: {names}", (), tuple(approvals))


def digest_is_due(*, last: float | None, now: float, start_of_day: float, hour: int) -> bool:
    """Whether the day's digest was not said yet; times in seconds since the epoch, `start_of_day` of local midnight."""
    due_at = start_of_day + hour * 3600.0
    return now >= due_at and (last is None or last < due_at)


def notify_settings(content: Mapping[str, Any], *, place: str) -> tuple[NotifySettings, list[str]]:
    """The section NOTIFY of config.json, and warnings of keys in it that nothing reads.

    Raises:
        ConfigurationError: a value that cannot be understood.
    """
    section = object_of(content, "NOTIFY", place=place)
    where = f"{place}: NOTIFY"
    mail, hook = object_of(section, "SMTP", place=where), object_of(section, "WEBHOOK", place=where)
    warnings = [
        *unknown_keys(section, NOTIFY_KEYS, place=where),
        *unknown_keys(mail, SMTP_KEYS, place=f"{where}.SMTP"),
        *unknown_keys(hook, WEBHOOK_KEYS, place=f"{where}.WEBHOOK"),
    ]
    hour = int(number_of(section, "DIGESTHOUR", 6.0, place=where, most=23.0))
    return (
        NotifySettings(
            _smtp(mail, f"{where}.SMTP") if mail else None,
            _webhook(hook, f"{where}.WEBHOOK") if hook else None,
            hour,
        ),
        warnings,
    )


def _smtp(values: Mapping[str, Any], place: str) -> SmtpSettings:
    tls = choice_of(values, "TLS", "starttls", ("none", "starttls", "tls"), place=place)
    recipients = texts_of(values, "TO", place=place)
    host, sender = str(values.get("HOST") or ""), str(values.get("FROM") or "")
    if not host or not _is_address(sender) or not recipients or not all(map(_is_address, recipients)):
        raise ConfigurationError(
            "HOST, FROM or TO is missing or no address", place=place, remedy='write TO as ["a@b.example"]'
        )
    user, secret = str(values.get("USER") or ""), str(values.get("SECRET") or "")
    if user and tls == "none":
        raise ConfigurationError(
            "a password would go over the line in the clear", place=place, remedy="use TLS starttls or tls"
        )
    port = int(
        number_of(values, "PORT", {"none": 25, "starttls": 587, "tls": 465}[tls], place=place, most=65535)
    )
    return SmtpSettings(host, port, sender, tuple(recipients), tls, user, secret)


def _webhook(values: Mapping[str, Any], place: str) -> WebhookSettings:
    url = str(values.get("URL") or "")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError("URL is no web address", place=place, remedy="write https://host/path")
    return WebhookSettings(url, str(values.get("SECRET") or ""))


def _is_address(text: str) -> bool:
    name, at, host = text.partition("@")
    return bool(name and at and host) and text.isprintable() and not set(text) & set(" ,;<>")


def _line(one: Event) -> str:
    images = f", {one.instances} image(s)" if one.instances else ""
    why = f": {one.reason}" if one.reason else ""
    return f"{one.study_key}  {one.project}  {one.state}{images}{why}"


def newest_first(events: Iterable[Event]) -> list[Event]:
    """By transfer, the newest request first."""
    return sorted(events, key=lambda one: -one.transfer_id)
