"""STOW-RS and QIDO-RS as user agent (PS3.18 sections 10.5 and 10.6): files go as they are, streamed from the disk."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from fiona_dagster.adapters.dicom_scu.part10 import StoredInstance, read_stored_instance
from fiona_dagster.adapters.dicom_scu.sending import SendOutcome, SendReport, failure, status_name
from fiona_dagster.adapters.stow_syntax import SYNTAX_REFUSED, refused_syntax, store_or_transcode
from fiona_dagster.domain.errors import ConfigurationError, NotOffered, Permanent, Transient, Unreachable

if TYPE_CHECKING:
    from requests import Response

JSON = "application/dicom+json"
BYTES_A_REQUEST, INSTANCES_A_REQUEST = 64 << 20, 200
"""So much goes into one request, and at least one instance whatever its size."""
_BLOCK = 1 << 20
_PAGE = 1_000
_CONNECT_SECONDS, _ANSWER_SECONDS = 10.0, 120.0
_REFERENCED, _FAILED = "00081199", "00081198"
_UID, _WARNING_REASON, _FAILURE_REASON = "00081155", "00081196", "00081197"
_MAY_PASS = frozenset({0x0110, 0x0213})


class StowClient:
    """One DICOMweb service; a context manager that closes its connections.

    Args:
        url: of the service, to which `/studies` is added.
        secret: a password with `user`, else a bearer token; empty for neither.
        user: for HTTP Basic authentication.
        ca: authorities in PEM whose certificates are trusted; None for those that come with requests.
        certificate: our own, and its key, in PEM.
    """

    def __init__(
        self, url: str, *, user: str = "", secret: str = "", ca: Path | None = None,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:  # fmt: skip
        import requests
        from requests.adapters import HTTPAdapter
        from requests.auth import HTTPBasicAuth

        self.url = url
        self._session = requests.Session()
        self._session.trust_env = (
            False  # neither .netrc nor a proxy of the environment decides where images go
        )
        self._session.mount("https://", _with_large_blocks(HTTPAdapter))
        self._session.mount("http://", _with_large_blocks(HTTPAdapter))
        if secret and user:
            self._session.auth = HTTPBasicAuth(user.encode(), secret.encode())
        elif secret:
            self._session.headers["Authorization"] = f"Bearer {secret}"
        self._session.verify = str(ca) if ca else True
        if certificate:
            self._session.cert = (str(certificate[0]), str(certificate[1]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def check(self) -> None:
        """Search for one study, and ask to store nothing: address, certificates, login and rights are good.

        Raises:
            Transient, ConfigurationError, NotOffered: see `instances`.
        """
        answer = self._get("/studies", {"limit": 1})
        if answer.status_code not in (200, 204):
            raise _refusal(self.url, answer.status_code)
        answer = self._post(
            []
        )  # a service may object to a request without instances: only who may not ask matters
        if answer.status_code in (404, 405, 501):
            raise _refusal(self.url, answer.status_code)

    def instances(self, study_instance_uid: str) -> frozenset[str]:
        """The SOP Instance UIDs of a study that the service says it holds; never a part of them.

        Raises:
            Transient: it does not answer, or not with Success.
            ConfigurationError: it does not let us in.
            NotOffered: it has no search.
        """
        found: set[str] = set()
        while True:
            answer = self._get(
                f"/studies/{study_instance_uid}/instances",
                {"includefield": "00080018", "limit": _PAGE, "offset": len(found)},
            )
            if answer.status_code in (204, 404):  # some answer 404 for a study that they do not have
                return frozenset(found)
            if answer.status_code != 200:
                raise _refusal(self.url, answer.status_code)
            page = {
                uid
                for one in _objects(answer, self.url)
                for uid in one.get("00080018", {}).get("Value") or ()
            }
            if not page - found:
                return frozenset(found)
            found |= page

    def send(
        self,
        paths: Sequence[Path],
        *,
        progress: Callable[[SendOutcome], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> SendReport:
        """Store the files; see `dicom_scu.send` for what is reported.

        Raises:
            Transient, Permanent, ConfigurationError: nothing was sent.
        """
        outcomes: dict[int, SendOutcome] = {}
        readable: list[tuple[int, StoredInstance]] = []
        for index, path in enumerate(paths):
            try:
                readable.append((index, read_stored_instance(path)))
            except Permanent as error:
                outcomes[index] = SendOutcome(path, "", None, str(error))
        problem: Transient | Permanent | None = None
        for number, batch in enumerate(_batches(readable)):
            if problem is None and stop is not None and stop():
                problem = Transient("it was stopped")
            if problem is None:
                try:
                    answered = store_or_transcode(self._store, [one for _, one in batch])
                except (Transient, Permanent) as error:
                    if number == 0:
                        raise
                    problem = error
            for index, one in batch:
                outcome = answered[one.sop_instance_uid] if problem is None else failure(
                    one, f"not sent: {problem}", retry=isinstance(problem, Transient)
                )  # fmt: skip
                outcomes[index] = outcome
                if progress is not None:
                    progress(outcome)
        return SendReport(tuple(outcomes[index] for index in range(len(paths))))

    def _store(self, batch: Sequence[StoredInstance]) -> dict[str, SendOutcome]:
        answer = self._post([one.path for one in batch])
        if answer.status_code == 413 and len(batch) > 1:  # too large at once
            half = len(batch) // 2
            return self._store(batch[:half]) | self._store(batch[half:])
        syntaxes = dict.fromkeys(one.transfer_syntax_uid for one in batch)
        if answer.status_code == 415 and len(syntaxes) > 1:  # one of them may be what it refuses
            parts = ([one for one in batch if one.transfer_syntax_uid == syntax] for syntax in syntaxes)
            return {uid: outcome for part in parts for uid, outcome in self._store(part).items()}
        if answer.status_code not in (200, 202, 400, 409, 413, 415):
            raise _refusal(self.url, answer.status_code)
        said: dict[str, tuple[str, int]] = {}
        if answer.status_code in (200, 202, 409):
            said = dict(_answers(_objects(answer, self.url)))
        return {one.sop_instance_uid: _outcome(one, said, answer.status_code) for one in batch}

    def _post(self, paths: Sequence[Path]) -> Response:
        with _Multipart(paths) as body:
            kind = f'multipart/related; type="application/dicom"; boundary={body.boundary}'
            return self._ask("POST", "/studies", data=body, headers={"Accept": JSON, "Content-Type": kind})

    def _get(self, path: str, parameters: dict[str, Any]) -> Response:
        return self._ask("GET", path, params=parameters, headers={"Accept": JSON})

    def _ask(self, method: str, path: str, **values: Any) -> Response:
        import requests

        try:
            answer = self._session.request(
                method,
                self.url + path,
                timeout=(_CONNECT_SECONDS, _ANSWER_SECONDS),
                allow_redirects=False,
                **values,
            )
        except requests.exceptions.SSLError:
            raise ConfigurationError(
                f"{self.url}: TLS was not agreed upon, or its certificate is not trusted",
                remedy="name the authority that signed it in OUTGOINGTLS.ca",
            ) from None
        except (requests.RequestException, OSError) as error:
            raise Unreachable(
                f"{self.url} does not answer ({type(error).__name__}): check that it runs, its address and the firewall"
            ) from None
        if answer.status_code in (401, 403):
            raise ConfigurationError(
                f"{self.url} does not let us in (HTTP {answer.status_code})",
                remedy="check dest_secret_ref and the rights there",
            )
        return answer


class _Multipart:
    """The body of a request: files between boundaries, read as they are sent; its length is known before."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.boundary = f"fiona-{secrets.token_hex(16)}"
        head = f"\r\n--{self.boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        self._end = f"\r\n--{self.boundary}--\r\n".encode()
        self._length = sum(len(head) + path.stat().st_size for path in paths) + len(self._end)
        self._parts: list[bytes | Path] = [part for path in paths for part in (head, path)] + [self._end]
        self._open: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._open is not None:
            self._open.close()

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes of what is left, all of a part where it is negative; empty at the end."""
        while True:
            if self._open is not None:
                content = self._open.read(size if size > 0 else _BLOCK)
                if content:
                    return content
                self._open.close()
                self._open = None
            if not self._parts:
                return b""
            part = self._parts.pop(0)
            if isinstance(part, bytes):
                return part
            self._open = part.open("rb")


def _with_large_blocks(adapter: type[Any]) -> Any:
    made = adapter()
    made.init_poolmanager(1, 1, block=False, blocksize=_BLOCK)
    return made


def _batches(instances: Sequence[tuple[int, StoredInstance]]) -> Iterator[list[tuple[int, StoredInstance]]]:
    batch: list[tuple[int, StoredInstance]] = []
    size = 0
    for one in instances:
        if batch and (size + one[1].length > BYTES_A_REQUEST or len(batch) == INSTANCES_A_REQUEST):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += one[1].length
    if batch:
        yield batch


def _objects(answer: Response, url: str) -> list[dict[str, Any]]:
    """The objects of an answer in the DICOM JSON Model; a single one, as STOW-RS returns, is one in a list."""
    try:
        content = answer.json()
    except ValueError:
        raise Transient(f"{url} answered HTTP {answer.status_code} without DICOM JSON: see its log") from None
    objects = content if isinstance(content, list) else [content]
    if not all(isinstance(one, dict) for one in objects):
        raise Transient(f"{url} answered HTTP {answer.status_code} without DICOM JSON: see its log")
    return objects


def _answers(objects: Sequence[dict[str, Any]]) -> Iterator[tuple[str, tuple[str, int]]]:
    """SOP Instance UID to `stored` or `failed` and a reason, 0 for none (PS3.18 10.5.3, PS3.3 C.12.1.1.3 codes)."""
    for content in objects:
        for sequence, kind, reason in (
            (_REFERENCED, "stored", _WARNING_REASON), (_FAILED, "failed", _FAILURE_REASON),
        ):  # fmt: skip
            for item in content.get(sequence, {}).get("Value") or ():
                code = (item.get(reason, {}).get("Value") or [0])[0]
                for uid in item.get(_UID, {}).get("Value") or ():
                    yield str(uid), (kind, int(code))


def _outcome(instance: StoredInstance, said: dict[str, tuple[str, int]], http: int) -> SendOutcome:
    kind, reason = said.get(instance.sop_instance_uid, ("", 0))
    if http == 415 or (kind == "failed" and reason == SYNTAX_REFUSED):
        return refused_syntax(instance, http)
    problem, status = status_name(reason) if reason else "", reason or None
    if kind == "stored":
        return SendOutcome(instance.path, instance.sop_instance_uid, reason, problem)
    if kind == "failed":
        retry = reason >> 8 == 0xA7 or reason in _MAY_PASS
        text = problem or "the peer failed to store it, without a reason"
        return SendOutcome(instance.path, instance.sop_instance_uid, status, text, retry)
    if http in (400, 413):
        return failure(instance, f"the peer refuses it (HTTP {http})")
    return failure(instance, "the peer says nothing about it", retry=True)


def _refusal(url: str, http: int) -> Transient | Permanent:
    if http in (408, 425, 429) or http >= 500:
        return Transient(f"{url} answered HTTP {http}: try again later")
    if http in (404, 405, 501) or 300 <= http < 400:
        return NotOffered(
            f"{url} answered HTTP {http}: check that this is the address of its DICOMweb service"
        )
    return Permanent(f"{url} answered HTTP {http}: see its log")
