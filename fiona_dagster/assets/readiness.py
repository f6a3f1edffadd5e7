"""Which of a study's transfers can be worked on now, and which wait for somebody to mend their project."""

from __future__ import annotations

from collections.abc import Iterable

from fiona_dagster.domain.errors import Permanent, Transient
from fiona_dagster.domain.transfer import Transfer
from fiona_dagster.resources.gateway import GatewayResource


def ready(gateway: GatewayResource, transfers: Iterable[Transfer]) -> tuple[list[Transfer], list[str]]:
    """The transfers whose projects can be used, and why the others wait: a project's mistake is that project's alone.

    Those of a project that is gone are among the first: the work on them stops with the reason.
    """
    now: list[Transfer] = []
    waiting: list[str] = []
    for transfer in transfers:
        try:
            gateway.project(transfer.project)
        except Transient as error:
            waiting.append(str(error))
            continue
        except Permanent:
            pass
        now.append(transfer)
    return now, waiting
