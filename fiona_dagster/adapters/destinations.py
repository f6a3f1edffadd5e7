"""A package to a destination of any type; the secret is followed at the last moment and never kept."""

from __future__ import annotations

from collections.abc import Callable

from fiona_dagster.adapters import folder_destination, sftp
from fiona_dagster.domain.delivery import DeliveryReceipt
from fiona_dagster.domain.packaging import Package
from fiona_dagster.domain.project import Destination
from fiona_dagster.settings import Settings


def deliver(
    package: Package,
    destination: Destination,
    settings: Settings,
    *,
    transfer_id: int,
    clock: Callable[[], float],
) -> DeliveryReceipt:
    """Deliver, read back, confirm.

    Raises:
        Transient: the destination does not answer now.
        Permanent, ConfigurationError: it will not take it.
    """
    terms = settings.delivery.terms(destination.name)
    if destination.type == "folder":
        return folder_destination.deliver(
            package, destination, transfer_id=transfer_id, clock=clock, terms=terms
        )
    secret = settings.secret(destination.secret_ref)
    return sftp.deliver(
        package,
        destination,
        secret,
        transfer_id=transfer_id,
        clock=clock,
        terms=terms,
    )


def check(destination: Destination, settings: Settings) -> str:
    """Log in, write, read back and delete; returns what was found, for `fiona doctor`.

    Raises:
        Transient, Permanent, ConfigurationError: what is wrong, and what to do.
    """
    if destination.type == "folder":
        return folder_destination.check(destination)
    return sftp.check(destination, settings.secret(destination.secret_ref))
