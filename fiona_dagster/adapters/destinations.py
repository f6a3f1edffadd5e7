"""A package to a destination of any type; the secret is followed at the last moment and never kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fiona_dagster.adapters import folder_destination, package_retraction, sftp
from fiona_dagster.adapters.ledger.breakers import Breakers
from fiona_dagster.domain.delivery import DeliveryReceipt, TakenOut
from fiona_dagster.domain.errors import FionaError, Transient, Unreachable
from fiona_dagster.domain.packaging import Package
from fiona_dagster.domain.project import Destination
from fiona_dagster.settings import Settings

LONGEST_KEY = 120
"""Of what the ledger calls a place; a column has 128."""
Stop = Callable[[], bool]
"""Asked while a package is sent: whether a person decided otherwise."""


def key_of(destination: Destination) -> str:
    """What is left alone when it does not answer: the server, whatever folder; or the folder."""
    if destination.type == "folder":
        return f"file://{destination.path}"[:LONGEST_KEY]
    return f"sftp://{destination.user}@{destination.host}:{destination.port}"[:LONGEST_KEY]


def bring(
    package: Package,
    destination: Destination,
    settings: Settings,
    *,
    transfer_id: int,
    breakers: Breakers,
    clock: Callable[[], float],
    stop: Stop | None = None,
    begin: Callable[[], None] | None = None,
) -> DeliveryReceipt:
    """`deliver`, if the destination is not left alone just now (see `domain.breaker`).

    Raises:
        Resting: it is left alone.
        TakenOut: `stop` said so.
        Transient, Permanent, ConfigurationError: see `deliver`.
    """
    with _answering(destination, transfer_id, breakers, clock):
        return deliver(
            package, destination, settings, transfer_id=transfer_id, clock=clock, stop=stop, begin=begin
        )


def remove_part(
    destination: Destination,
    name: str,
    settings: Settings,
    *,
    transfer_id: int,
    breakers: Breakers,
    clock: Callable[[], float],
) -> None:
    """Delete what an upload that did not come to its end left of the package `name`. Raises as `bring`."""
    with _answering(destination, transfer_id, breakers, clock):
        secret = settings.secret(destination.secret_ref) if destination.type == "sftp" else ""
        package_retraction.remove_part(destination, name, secret)


@contextmanager
def _answering(
    destination: Destination, transfer_id: int, breakers: Breakers, clock: Callable[[], float]
) -> Iterator[None]:
    """Note whether the destination answers, unless it is left alone just now."""
    key = key_of(destination)
    breakers.admit(key, now=clock())
    try:
        yield
    except Transient as error:
        alone = isinstance(error, Unreachable)
        breakers.failed(key, transfer_id, now=clock(), unreachable=alone, reason=str(error))
        raise
    except (FionaError, TakenOut):  # it answers; this delivery is another matter
        breakers.reached(key, now=clock())
        raise
    breakers.reached(key, now=clock())


def deliver(
    package: Package,
    destination: Destination,
    settings: Settings,
    *,
    transfer_id: int,
    clock: Callable[[], float],
    stop: Stop | None = None,
    begin: Callable[[], None] | None = None,
) -> DeliveryReceipt:
    """Deliver, read back, confirm; `begin` is called as soon as something of it may come to lie there.

    Raises:
        TakenOut: `stop` said so; nothing of it is left there.
        Transient: the destination does not answer now.
        Permanent, ConfigurationError: it will not take it.
    """
    terms = settings.delivery.terms(destination.name)
    if destination.type == "folder":
        return folder_destination.deliver(
            package, destination, transfer_id=transfer_id, clock=clock, terms=terms, stop=stop, begin=begin
        )
    secret = settings.secret(destination.secret_ref)
    return sftp.deliver(
        package,
        destination,
        secret,
        transfer_id=transfer_id,
        clock=clock,
        terms=terms,
        stop=stop,
        begin=begin,
    )


def check(destination: Destination, settings: Settings) -> str:
    """Log in, write, read back and delete; returns what was found, for `fiona doctor`.

    Raises:
        Transient, Permanent, ConfigurationError: what is wrong, and what to do.
    """
    if destination.type == "folder":
        return folder_destination.check(destination)
    return sftp.check(destination, settings.secret(destination.secret_ref))
