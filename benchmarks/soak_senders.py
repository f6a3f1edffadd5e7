"""Senders of a soak: one thread each, with manners good and bad, by C-STORE and by STOW-RS."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random

import requests

from benchmarks.soak_account import NOT_AUTHORISED, OUT_OF_RESOURCES, SUCCESS, Account, Content
from benchmarks.soak_images import (
    EXPLICIT_LITTLE,
    KINDS,
    OTHER_CONTENT,
    OTHER_STUDY,
    Census,
    Instance,
    sha256,
)
from fiona_dagster.adapters.dicom_scu import acse
from fiona_dagster.adapters.dicom_scu.messages import C_STORE_RQ, decode_command, encode_request
from fiona_dagster.adapters.received_files import file_meta
from scp_listener.store_messages import command_pdus

HOST = "127.0.0.1"
PATIENCE_SECONDS = 40.0
_AGAIN_SECONDS = 0.2
_BOUNDARY = b"soak.boundary"
_PROPOSED = [(kind.sop_class_uid, [EXPLICIT_LITTLE]) for kind in KINDS.values()]
_ACCEPTED, _P_DATA, _RELEASE = 2, 4, b"\x05\0\0\0\0\x04\0\0\0\0"
_ABORT = b"\x07\0\0\0\0\x04\0\0\0\0"
_STATUS, _REASON, _INSTANCE = 0x0900, "00081197", "00081155"


@dataclass(frozen=True)
class Target:
    """Where senders send."""

    port: int
    web_port: int
    token: str


@dataclass(frozen=True)
class Manners:
    """How one Association goes: `pause` between pieces in seconds; after `breaks_after` messages it ends badly."""

    pause: float = 0.0
    fragment: int = 65_536
    breaks_after: int | None = None
    how: str = ""


class Broken(Exception):
    """The Association has ended before its time, by us or by the other side."""


class Association:
    """One Association; every answer goes to the account."""

    def __init__(self, target: Target, calling: str, account: Account, stopping: threading.Event) -> None:
        self._account, self._stopping, self._name = account, stopping, calling
        self._socket = socket.create_connection((HOST, target.port), timeout=PATIENCE_SECONDS)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(acse.associate_request("FIONA", calling, _PROPOSED, 65_536))
            answer = self._pdu()
            if answer[0] != _ACCEPTED:
                raise Broken("rejected")
            self._contexts, self._longest = acse.acceptance(answer, _PROPOSED)
        except BaseException:  # whatever ends it, the socket is closed
            self._socket.close()
            raise

    def store(self, one: Instance, manners: Manners, number: int) -> Content | None:
        """Send it, return what was acknowledged."""
        data_set = one.data_set()
        content = (one.sop_instance_uid, sha256(data_set))
        context = self._contexts[one.sop_class_uid, EXPLICIT_LITTLE]
        command = encode_request(
            C_STORE_RQ, 7, one.sop_class_uid, sop_instance_uid=one.sop_instance_uid, with_data_set=True
        )
        breaks = manners.breaks_after == number
        self._socket.sendall(command_pdus(command, context, self._longest))
        step = min(manners.fragment, max(self._longest - 12, 1024)) if self._longest else manners.fragment
        for at in range(0, len(data_set), step):
            last = at + step >= len(data_set)
            if breaks and manners.how == "in the middle" and at + step >= len(data_set) // 2:
                self._break()
            if last:
                self._account.attempt(content, len(data_set), self._name)
            part = data_set[at : at + step]
            self._socket.sendall(
                struct.pack(">BxLLBB", 4, len(part) + 6, len(part) + 2, context, 2 * last) + part
            )
            if manners.pause:
                self._stopping.wait(manners.pause)
        if breaks:
            self._break()
        answer = self._pdu()
        if answer[0] != _P_DATA:
            raise Broken("by an abort")
        status = int.from_bytes(decode_command(answer[12:])[_STATUS], "little")
        self._account.answered(content, status, self._name)
        return content if status == SUCCESS else None

    def release(self) -> None:
        """A-RELEASE and its answer."""
        self._socket.sendall(_RELEASE)
        self._pdu()
        self._socket.close()

    def close(self) -> None:
        self._socket.close()

    def _break(self) -> None:
        """Vanish: half of the time with an A-ABORT, else as if the cable were cut."""
        with suppress(OSError):
            if self._account.doings["Associations"] % 2:
                self._socket.sendall(_ABORT)
            else:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        raise Broken("by us")

    def _pdu(self) -> bytes:
        head = self._exactly(6)
        return head + self._exactly(int.from_bytes(head[2:6], "big"))

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            if not piece:
                raise Broken("by the other side")
            data += piece
        return data


class Sender(threading.Thread):
    """Sends parts of studies until it is told to stop; what was not acknowledged is sent again."""

    def __init__(
        self, number: int, target: Target, census: Census, turn: threading.Lock, account: Account, seed: int,
        stopping: threading.Event, *, web: bool,
    ) -> None:  # fmt: skip
        super().__init__(name=f"sender-{number}", daemon=True)
        self._number, self._target, self._census, self._turn = number, target, census, turn
        self._account, self._stopping, self._web = account, stopping, web
        self._random = Random(f"sender/{seed}/{number}")
        self._left: list[Instance] = []
        self._request = 0
        self.problem = ""

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                work = self._work()
                (self._post if self._web else self._associate)(work)
        except Exception as error:  # noqa: BLE001  the soak ends with it, and says so
            self.problem = f"{self.name}: {type(error).__name__}: {error}"

    def _work(self) -> list[Instance]:
        """Part of a study that others may be sending as well, some of it twice, some with other content."""
        again, self._left = self._left[:200], []
        with self._turn:
            study = self._census.study()
        part = self._random.sample(study, self._random.randint(1, len(study)))
        found = again + part
        for one in self._random.sample(part, len(part) // 12):
            found.append(one)
        if self._random.random() < 0.15:
            variant = self._random.choice((OTHER_CONTENT, OTHER_CONTENT, OTHER_STUDY))
            found.append(replace(self._random.choice(part), variant=variant))
        if self._random.random() < 0.5:
            self._random.shuffle(found)
        return found

    def _manners(self, count: int) -> Manners:
        chance = self._random.random()
        if chance < 0.1:
            return Manners(pause=self._random.uniform(0.002, 0.02), fragment=8_192)
        if chance < 0.3:
            how = self._random.choice(("in the middle", "before the answer"))
            return Manners(breaks_after=self._random.randrange(count), how=how, fragment=16_384)
        return Manners(fragment=self._random.choice((16_384, 65_536)))

    def _associate(self, work: Sequence[Instance]) -> None:
        manners = self._manners(len(work))
        self._account.did("Associations")
        acknowledged: set[Instance] = set()
        association = None
        try:
            association = Association(self._target, f"SOAK{self._number}", self._account, self._stopping)
            for number, one in enumerate(work):
                if association.store(one, manners, number) is not None:
                    acknowledged.add(one)
                if self._stopping.is_set():
                    break
            association.release()
        except Broken as error:
            self._account.did(f"Associations broken {error}")
            self._pause()
        except OSError as error:
            self._account.did(f"Associations broken: {type(error).__name__}")
            self._pause()
        finally:
            if association is not None:
                association.close()
        self._left = [one for one in dict.fromkeys(work) if one not in acknowledged]

    def _post(self, work: Sequence[Instance]) -> None:
        """A Store request of STOW-RS (PS3.18 section 10.5)."""
        work = work[:40]
        self._account.did("Store requests")
        self._request += 1
        contents: list[Content] = []
        reasons: dict[str, list[int]] = {}
        try:
            answer = requests.post(
                f"http://{HOST}:{self._target.web_port}/studies",
                data=self._body(work, contents),
                headers={
                    "Authorization": f"Bearer {self._target.token}",
                    "Content-Type": f'multipart/related; type="application/dicom"; boundary={_BOUNDARY.decode()}',
                },
                timeout=PATIENCE_SECONDS,
            )
        except requests.RequestException as error:
            self._account.did(f"Store requests broken: {type(error).__name__}")
            self._left = list(work)
            self._pause()
            return
        if "json" not in answer.headers.get("Content-Type", ""):
            status = NOT_AUTHORISED if answer.status_code in (401, 403) else OUT_OF_RESOURCES
            if answer.status_code not in (401, 403, 503):
                self.problem = f"a Store request was answered {answer.status_code}"
                contents = []  # nothing was said about them
            for content in contents:
                self._account.answered(content, status, self._which(answer))
            self._left = list(work)
            self._pause()
            return
        module = answer.json()
        for tag in ("00081199", "00081198", "0008119A"):
            for item in module.get(tag, {}).get("Value", []):
                uid = item.get(_INSTANCE, {}).get("Value", [""])[0]
                reasons.setdefault(uid, []).append(item.get(_REASON, {}).get("Value", [SUCCESS])[0])
        self._take(work, contents, reasons, self._which(answer))

    def _take(
        self, work: Sequence[Instance], contents: Sequence[Content], reasons: dict[str, list[int]], by: str
    ) -> None:
        """Parts are answered in their order, stored ones apart from failed ones; a UID that has both kinds, or more
        parts than answers, is left unanswered, since the answer does not tell which is which."""
        left = []
        parts = Counter(uid for uid, _ in contents)
        for one, content in zip(work, contents, strict=False):
            found = reasons.get(content[0], [])
            if len(found) == parts[content[0]] and len(set(found)) == 1:
                self._account.answered(content, found[0], by)
                if found[0] not in (SUCCESS, 0x0111):
                    left.append(one)
            else:
                self._account.did("parts whose answer is open")
        self._left = left + list(work[len(contents) :])

    def _body(self, work: Sequence[Instance], contents: list[Content]) -> Iterator[bytes]:
        breaks = self._random.randrange(len(work)) if self._random.random() < 0.15 else None
        for number, one in enumerate(work):
            data_set = one.data_set()
            content = (one.sop_instance_uid, sha256(data_set))
            meta = file_meta(one.sop_class_uid, one.sop_instance_uid, EXPLICIT_LITTLE, "SOAKWEB")
            yield b"--" + _BOUNDARY + b"\r\nContent-Type: application/dicom\r\n\r\n" + meta
            half = len(data_set) // 2
            yield data_set[:half]
            if breaks == number:
                raise requests.ConnectionError
            contents.append(content)
            self._account.attempt(content, len(data_set), f"{self._which()}, part {number + 1}")
            yield data_set[half:] + b"\r\n"
        yield b"--" + _BOUNDARY + b"--\r\n"

    def _which(self, answer: object = "") -> str:
        return f"{self.name}, request {self._request} {answer}"

    def _pause(self) -> None:
        self._stopping.wait(self._random.uniform(0, 2 * _AGAIN_SECONDS))


def wait_for_end(senders: Sequence[Sender], seconds: float) -> list[str]:
    """Wait until all have ended; what went wrong with them."""
    deadline = time.monotonic() + seconds
    for one in senders:
        one.join(max(0.0, deadline - time.monotonic()))
    return [one.problem or f"{one.name} does not end" for one in senders if one.problem or one.is_alive()]
