"""How a listener works, with whom it shares its ports, and whether it is switched on."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scp_listener.occupancy import Occupancy

if TYPE_CHECKING:
    from scp_listener.stow_server import StowEntrance


@dataclass(frozen=True)
class Manner:
    """How a listener works.

    `streamed`: our data phase, else pynetdicom's own, slower and there in case of need. `durable`: synced before
    Success, never off but to compare with receivers that do not sync.
    """

    streamed: bool = True
    durable: bool = True
    stow: StowEntrance | None = None
    """The second door, where there is one."""


@dataclass(frozen=True)
class Company:
    """The processes that share a listener's ports: their table, this one's row, and the sockets that listen already,
    first without TLS, then with."""

    occupancy: Occupancy
    row: int = 0
    count: int = 1
    sockets: tuple[socket.socket, ...] = ()


def control_file(control: Path) -> str | None:
    """The content of FIONA's `enabled`; None where there is none, `0` where it cannot be read."""
    try:
        return control.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return None
    except OSError:
        return "0"
