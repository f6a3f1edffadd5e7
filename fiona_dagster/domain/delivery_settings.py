"""How packages are brought to a destination, by its name: section DELIVERY of config.json.

"DELIVERY": {"DEFAULT": {"MEGABYTESPERSECOND": 20},
             "lab": {"TRIPLES": true, "SERVERSUMS": true}}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fiona_dagster.domain.configuration_values import flag_of, number_of, object_of, unknown_keys

DEFAULT = "DEFAULT"
TERMS_KEYS = frozenset({"MEGABYTESPERSECOND", "TRIPLES", "SERVERSUMS"})


@dataclass(frozen=True)
class DeliveryTerms:
    """`bytes_per_second`: what an upload may use of the line, 0 for all of it.

    `triples`: FIONA's `.md5sum` and `.json` are put beside the package (fiona-behaviour 8). `server_sums`: a
    `.md5sum_server` that the server publishes spares reading back what is there already.
    """

    bytes_per_second: float = 0.0
    triples: bool = False
    server_sums: bool = False


@dataclass(frozen=True)
class DeliverySettings:
    """The terms by the names of destinations."""

    default: DeliveryTerms = DeliveryTerms()
    by_name: Mapping[str, DeliveryTerms] = field(default_factory=dict)

    def terms(self, destination: str) -> DeliveryTerms:
        """The terms of a destination; the default ones where it has none of its own."""
        return self.by_name.get(destination, self.default)


def delivery_settings(content: Mapping[str, Any], *, place: str) -> tuple[DeliverySettings, list[str]]:
    """The section DELIVERY of config.json, and warnings of keys in it that nothing reads.

    Raises:
        ConfigurationError: a value that cannot be understood.
    """
    section, warnings = object_of(content, "DELIVERY", place=place), []
    terms = {}
    for name in section:
        values, where = object_of(section, name, place=f"{place}: DELIVERY"), f"{place}: DELIVERY.{name}"
        warnings += unknown_keys(values, TERMS_KEYS, place=where)
        terms[name] = DeliveryTerms(
            number_of(values, "MEGABYTESPERSECOND", 0.0, place=where) * 1e6,
            flag_of(values, "TRIPLES", place=where),
            flag_of(values, "SERVERSUMS", place=where),
        )
    default = terms.pop(DEFAULT, DeliveryTerms())
    return DeliverySettings(default, terms), warnings
