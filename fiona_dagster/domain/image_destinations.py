"""Where the images of a project go besides packages: archives that speak DICOM or DICOMweb.

    dicom://AETITLE@host:port       C-STORE; dicoms:// over TLS
    https://user@host/dicom-web     STOW-RS and QIDO-RS; a password with a user, a bearer token without

Each may be followed by `?associations=4&confirm=query`. REDCap's fields for a C-STORE destination do as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from fiona_dagster.domain.configuration_values import choice_of
from fiona_dagster.domain.errors import ConfigurationError

MOST_ASSOCIATIONS = 16
LONGEST_NAME = 120
"""Of what the ledger calls it; a column has 128."""
_SCHEMES: Mapping[str, Literal["dicom", "stow"]] = {
    "dicom": "dicom", "dicoms": "dicom", "http": "stow", "https": "stow",
}  # fmt: skip
_C_STORE, _STOW = "1", "2"
_AE_TITLE = re.compile(r"(?=.*\S)[\x20-\x5b\x5d-\x7e]{1,16}")
_OPTIONS = frozenset({"associations", "confirm"})
_REMEDY = "write dicom://AETITLE@host:port, dicoms://AETITLE@host:port or https://host/dicom-web"


class Confirm(StrEnum):
    """How a destination shows that it has what it was sent (law 5). A later one is weaker."""

    BEST = "best"
    """The first of the following that it offers, but for the last."""
    COMMITMENT = "commitment"
    """Storage Commitment (PS3.4 annex J), and nothing less."""
    QUERY = "query"
    """The set of SOP Instance UIDs, by C-FIND or QIDO-RS."""
    COUNT = "count"
    """Numbers of instances alone, with a warning."""
    ANSWERS = "answers"
    """Its answers to C-STORE, with a warning: for one that cannot be asked anything."""


@dataclass(frozen=True)
class ImageDestination:
    """An archive that images go to. `secret_ref` is `env:NAME` or `file:/path`, never the secret.

    `associations`: so many at a time, where it takes them.
    """

    name: str
    kind: Literal["dicom", "stow"]
    ae_title: str = ""
    host: str = ""
    port: int = 104
    tls: bool = False
    url: str = ""
    user: str = ""
    secret_ref: str = ""
    associations: int = 1
    confirm: Confirm = Confirm.BEST

    @property
    def address(self) -> str:
        """As people write it, and as the ledger calls it; one address is one destination, whatever its name."""
        return self.url if self.kind == "stow" else f"{self.ae_title}@{self.host}:{self.port}"


def is_image_destination(row: Mapping[str, Any]) -> bool:
    """Whether a row of the repeating form `destinations` is about images, not packages."""
    scheme = urlsplit(str(row.get("dest_url") or "")).scheme.lower()
    return scheme in _SCHEMES or (not scheme and str(row.get("dest_type") or "") in {_C_STORE, _STOW})


def image_destination_from_fields(row: Mapping[str, Any], *, place: str) -> ImageDestination:
    """A destination from a row of the repeating form `destinations`.

    Raises:
        ConfigurationError: what cannot be understood completely.
    """
    name = str(row.get("dest_name") or "")
    where = f"{place}: destination '{name}'" if place else f"destination '{name}'"
    try:
        parts = urlsplit(str(row.get("dest_url") or ""))
        port = parts.port or int(row.get("dest_port") or 104)
    except ValueError:
        raise ConfigurationError("has no usable dest_url or dest_port", place=where, remedy=_REMEDY) from None
    if not name or (not parts.scheme and str(row.get("dest_type") or "") == _STOW):
        raise ConfigurationError("has no dest_name or no dest_url", place=where, remedy=_REMEDY)
    if parts.password:
        raise ConfigurationError(
            "has a password in its dest_url",
            place=where,
            remedy="take it out, and name it in dest_secret_ref",
        )
    options = _options(parts, where)
    common: dict[str, Any] = {
        "name": name,
        "secret_ref": str(row.get("dest_secret_ref") or ""),
        "associations": _associations(options.get("associations", 1), where),
        "confirm": _confirm(options, where),
    }
    if _SCHEMES.get(parts.scheme.lower()) == "stow":
        return _stow(parts, common, where)
    title = unquote(parts.username or "") or str(row.get("dest_aetitle") or "")
    host = parts.hostname or str(row.get("dest_host") or "")
    tls = parts.scheme.lower() == "dicoms" or _yes(row.get("dest_tls"))
    return _checked(
        ImageDestination(kind="dicom", ae_title=title, host=host, port=port, tls=tls, **common), where
    )


def research_pacs_from(
    values: Mapping[str, Any], ae_title: str, host: str, port: int, *, place: str
) -> ImageDestination:
    """How the section `RESEARCHPACS` wants images sent and confirmed: TLS, ASSOCIATIONS, CONFIRM.

    Raises:
        ConfigurationError: a value that cannot be understood.
    """
    tls = values.get("TLS", False)
    if not isinstance(tls, bool):
        raise ConfigurationError(
            "is neither true nor false", place=f"{place}: TLS", remedy="write true or false"
        )
    return ImageDestination(
        "research PACS", "dicom", ae_title, host, port, tls,
        associations=_associations(values.get("ASSOCIATIONS") or 1, f"{place}: ASSOCIATIONS"),
        confirm=_confirm(values, place, "CONFIRM"),
    )  # fmt: skip


def _stow(parts: SplitResult, common: dict[str, Any], where: str) -> ImageDestination:
    if not parts.hostname:
        raise ConfigurationError("has no usable dest_url", place=where, remedy=_REMEDY)
    server = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if parts.port:
        server = f"{server}:{parts.port}"
    url = f"{parts.scheme.lower()}://{server}{parts.path.rstrip('/')}"
    if parts.scheme.lower() == "http" and common["secret_ref"]:
        raise ConfigurationError(
            "would send its secret without TLS", place=where, remedy="use https://, or take the secret out"
        )
    user = unquote(parts.username or "")
    return _checked(ImageDestination(kind="stow", url=url, user=user, **common), where)


def _checked(destination: ImageDestination, where: str) -> ImageDestination:
    if destination.kind == "dicom":
        if not destination.host or not _AE_TITLE.fullmatch(destination.ae_title):
            raise ConfigurationError("has no usable AE title or host", place=where, remedy=_REMEDY)
        if not 0 < destination.port <= 65535:
            raise ConfigurationError("has no usable port", place=where, remedy="use 1 to 65535")
    elif destination.confirm is Confirm.COMMITMENT:
        raise ConfigurationError(
            "cannot be asked for Storage Commitment over the web", place=where, remedy="use confirm=query"
        )
    if len(destination.address) > LONGEST_NAME:
        raise ConfigurationError(
            f"has an address of more than {LONGEST_NAME} characters", place=where, remedy="use a shorter one"
        )
    return destination


def _options(parts: SplitResult, where: str) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        raise ConfigurationError(
            f"has the option {unknown[0]} in its dest_url, which is not known", place=where,
            remedy=f"options are: {', '.join(sorted(_OPTIONS))}",
        )  # fmt: skip
    return options


def _associations(value: object, where: str) -> int:
    text = str(value)
    if not text.isdecimal() or not 1 <= int(text) <= MOST_ASSOCIATIONS:
        raise ConfigurationError(
            "asks for a number of Associations that cannot be used", place=where,
            remedy=f"use 1 to {MOST_ASSOCIATIONS}",
        )  # fmt: skip
    return int(text)


def _confirm(values: Mapping[str, Any], where: str, key: str = "confirm") -> Confirm:
    return Confirm(choice_of(values, key, Confirm.BEST, tuple(Confirm), place=where))


def _yes(value: object) -> bool:
    return str(value or "").strip().lower() in {"1", "yes", "true", "on"}
