"""The proof of a release: what was done to which copies, by which method, with which result; no patient data.

It names copies by their new UIDs and SHA-256. The way back to an original, its series and its study is an HMAC-SHA256
of the old UID under a key of its own, derived from the project's: who has the key can prove which original it was;
nobody else can tell, and the destruction of the key ends that. How many days dates moved is no part of it.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from fiona_dagster.domain.deid.dictionary import keyword_of
from fiona_dagster.domain.deid.profile import Code, DateMode, Option, Profile
from fiona_dagster.domain.deidentification import DISPOSITIONS, DeidentifiedInstance
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.signed import canonical

if TYPE_CHECKING:
    from fiona_dagster.domain.pixels.policy import PixelPolicy
    from fiona_dagster.domain.project import Project
    from fiona_dagster.domain.verification import VerifiedStudy

__all__ = ["Conformance", "build_proof", "canonical", "content_problems", "original_link", "profile_of"]
FORMAT = "fiona-proof/1"
NECESSARY_CHECKS = frozenset({"conservation", "no_removed_value_left"})
"""Without these a release is not proven; what else verification checks, the proof names."""
_BESIDES_PROFILE = frozenset({"overrides", "digest", "date_mode", "uid_scheme", "pixels_are_clean", "pixels"})
_INCOMPLETE = "the proof is not complete"
_OTHER_FORMAT = "the proof has a format that this version does not know"
_TEXTS = frozenset({
    "format", "made_at", "project", "participant", "event", "study_instance_uid", "key_id", "pixel_data",
    "release_sha256",
})  # fmt: skip
_PARTS = _TEXTS | {
    "revision", "method", "versions", "counts", "reasons", "instances", "checks", "conformance",
}  # fmt: skip
_LATER_PARTS = frozenset({"accepted", "study_original", "series"})
"""Parts that proofs of earlier versions do not have."""
_LINK_KEY = b"fiona-dagster: links of proofs to originals, 1"


@dataclass(frozen=True)
class Conformance:
    """What a validator finds in a copy and not in its original: kind, attribute and module, never a value.

    `checked` of `of` pairs (one a series and SOP Class) were looked at; `why_not` says why others were not.
    """

    tool: str
    checked: int
    of: int
    new_errors: tuple[tuple[str, int], ...] = ()
    why_not: str = ""


class OriginalUids(NamedTuple):
    """StudyInstanceUID and SeriesInstanceUID of an original."""

    study_instance_uid: str
    series_instance_uid: str


def original_link(key: bytes, uid: str) -> str:
    """The keyed hash by which a proof names an original, its series or its study, in hexadecimal digits."""
    link_key = hmac.digest(key, _LINK_KEY, "sha256")
    encoded = uid.strip(" \0").encode("utf-8", "surrogateescape")
    return hmac.new(link_key, encoded, hashlib.sha256).hexdigest()


def build_proof(
    study: VerifiedStudy,
    project: Project,
    profile: Profile,
    *,
    key: bytes,
    key_id: str,
    versions: Mapping[str, str],
    conformance: Conformance,
    series: Mapping[str, OriginalUids],
    made_at: str,
) -> dict[str, Any]:
    """The content of a proof; the same release has the same but for `made_at`.

    Args:
        study: the verified release, with its checks.
        project: its policy.
        profile: what it was de-identified by.
        key: the project's key, for the links to originals.
        key_id: its name.
        versions: of everything that decided.
        conformance: what a validator says.
        series: UIDs of the originals by the new Series Instance UID.
        made_at: UTC, ISO 8601.
    """
    instances = study.study.instances
    return {
        "format": FORMAT,
        "made_at": made_at,
        "project": study.project,
        "participant": study.participant,
        "event": study.event,
        "revision": study.revision,
        "study_instance_uid": study.study_instance_uid,
        "study_original": _study_link(key, series.values()),
        "series": [
            {"series_instance_uid": new, "original": original_link(key, old.series_instance_uid)}
            for new, old in sorted(series.items())
        ],
        "key_id": key_id,
        "method": _method(study, project, profile),
        "versions": dict(versions),
        "pixel_data": "masked" if any(_is_masked(one) for one in instances) else "unchanged",
        "counts": {"received": len(instances), **study.study.counts()},
        "reasons": _reasons(instances),
        "instances": [
            {
                "sop_instance_uid": one.sop_instance_uid,
                "path": one.path,
                "sha256": one.sha256,
                "size": one.size_bytes,
                "original": original_link(key, one.source_sop_instance_uid),
                **_masked_part(one),
            }
            for one in sorted(study.instances, key=lambda one: one.sop_instance_uid)
        ],
        "release_sha256": study.study.manifest_sha256,
        "checks": {
            one.name: {"passed": one.passed, "examined": one.examined, "found": one.found}
            for one in study.checks
        },
        "accepted": [
            {"place": place, "found": found} for one in study.checks for place, found in one.accepted
        ],
        "conformance": {
            "tool": conformance.tool,
            "checked": conformance.checked,
            "of": conformance.of,
            "why_not": conformance.why_not,
            "new_errors": dict(conformance.new_errors),
        },
    }


def _study_link(key: bytes, originals: Iterable[OriginalUids]) -> str:
    """Link to the original study: a release has one; '' for one without copies."""
    found = sorted({one.study_instance_uid for one in originals})
    return original_link(key, found[0]) if len(found) == 1 else ""


def _method(study: VerifiedStudy, project: Project, profile: Profile) -> dict[str, Any]:
    return {
        **profile.policy,
        "overrides": [
            {"tag": f"{tag:08x}", "keyword": keyword_of(tag), "action": code.value}
            for tag, code in sorted(profile.overrides)
        ],
        "digest": study.method_digest,
        "date_mode": project.date_mode,
        "uid_scheme": project.uid_scheme,
        "pixels_are_clean": project.pixels_are_clean,
        "pixels": {"mode": project.pixel_mode, **_about_masking(project.pixels)},
    }


def _about_masking(policy: PixelPolicy) -> dict[str, Any]:
    """What a project wants masked, without its words and patterns, which the method digest covers."""
    exclusions = [keyword_of(one.tag) for one in policy.exclusions]
    if not policy.masks_any:
        return {"exclusions": exclusions} if exclusions else {}
    return {
        "mask": policy.mask,
        "allowed_words": len(policy.allowed),
        "exclusions": exclusions,
        "templates": len(policy.templates),
    }


def _is_masked(one: DeidentifiedInstance) -> bool:
    return one.masking is not None and one.masking.changes_pixels


def _masked_part(one: DeidentifiedInstance) -> dict[str, Any]:
    """How pixels were searched: what for, how many boxes were masked, and which share of all pixels they are; or by
    which attribute the project has them stay as they are."""
    if one.masking is None:
        return {}
    found = one.masking
    return {
        "pixels": {
            "reason": found.reason,
            "sources": list(found.sources),
            "boxes": len(found.boxes),
            "percent": math.ceil(100 * found.share),
            "overlay_cleared": found.overlay_bits != 0,
            "excluded_by": found.excluded_by,
        }
    }


def _reasons(instances: Iterable[DeidentifiedInstance]) -> list[dict[str, Any]]:
    counted = Counter((one.disposition, one.reason) for one in instances if one.disposition != "released")
    return [{"disposition": d, "reason": r, "count": n} for (d, r), n in sorted(counted.items())]


def profile_of(content: Mapping[str, Any]) -> tuple[Profile, DateMode]:
    """The profile, with its options and overrides, that a proof names, and how dates were treated.

    Raises:
        ConfigurationError: this version does not know it.
    """
    method = content["method"]
    try:
        profile = Profile(
            name=str(method["profile"]),
            options=frozenset(Option(one) for one in method["options"]),
            overrides=tuple((int(one["tag"], 16), Code(one["action"])) for one in method["overrides"]),
            version=str(method["version"]),
            standard_body_parts=method["standard_body_parts"] is True,
        )
        mode: DateMode = method["date_mode"]
        ours = {name: one for name, one in profile.policy.items() if name != "overrides"}
        stated = {name: one for name, one in method.items() if name not in _BESIDES_PROFILE}
        known = ours == stated and mode in get_args(DateMode)
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise ConfigurationError(
            "the proof's profile is not one that this version knows",
            remedy=f"verify it with version {content['versions'].get('fiona-dagster', '')} of the gateway",
        ) from None
    return profile, mode


def accepted_in(content: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The places that a person accepted, with how often something stood there; none of a proof that is not sound."""
    if content_problems(content):
        return []
    return [(str(one["place"]), int(one["found"])) for one in content.get("accepted", ())]


def is_complete(content: Mapping[str, Any]) -> bool:
    """Whether a proof has all of its parts, whatever they say."""
    return not {_INCOMPLETE, _OTHER_FORMAT} & set(content_problems(content))


def content_problems(content: Mapping[str, Any]) -> list[str]:
    """Why the content of a proof cannot be right in itself: format, conservation, sums, checks."""
    try:
        return list(_problems(content))
    except (KeyError, TypeError, AttributeError, ValueError):
        return [_INCOMPLETE]


def _problems(content: Mapping[str, Any]) -> Iterator[str]:
    if content["format"] != FORMAT:
        yield _OTHER_FORMAT
        return
    yield from _count_problems(content)
    yield from _check_problems(content)
    method = content["method"]
    texts = [method[name] for name in ("digest", "profile", "edition", "date_mode")]
    if content.keys() - _LATER_PARTS != _PARTS or not all(
        isinstance(one, str) for one in (*texts, *map(content.get, _TEXTS))
    ):
        yield _INCOMPLETE
    _ = [(one["place"].isprintable(), one["found"] > 0) for one in content.get("accepted", ())]
    if "series" in content and not _names_its_series(content):
        yield "the proof does not name the series of its instances"
    _ = content["revision"], content["versions"].items(), content["conformance"]["new_errors"].items()


def _count_problems(content: Mapping[str, Any]) -> Iterator[str]:
    counts, instances = content["counts"], content["instances"]
    if counts["received"] != sum(counts[name] for name in DISPOSITIONS) or min(counts.values()) < 0:
        yield "received is not released + held + excluded + failed"
    if counts["released"] != len(instances):
        yield "the proof does not name as many instances as were released"
    if len({one["sop_instance_uid"] for one in instances}) != len(instances):
        yield "the proof names an instance twice"
    for name in DISPOSITIONS[1:]:
        if counts[name] != sum(one["count"] for one in content["reasons"] if one["disposition"] == name):
            yield f"the reasons do not add up to what is {name}"
    lines = sorted(f"{one['sha256']}  {one['sop_instance_uid']}  {one['path']}" for one in instances)
    if content["release_sha256"] != hashlib.sha256("\n".join(lines).encode()).hexdigest():
        yield "the sum over the release is not that of its instances"


def _names_its_series(content: Mapping[str, Any]) -> bool:
    """Whether the series with links to originals are those of the copies, each once (their folders are named so)."""
    named = [str(one["series_instance_uid"]) for one in content["series"]]
    folders = {str(one["path"]).partition("/")[0] for one in content["instances"]}
    links = [content["study_original"], *(one["original"] for one in content["series"])]
    return sorted(folders) == sorted(named) and all(isinstance(one, str) for one in links)


def _check_problems(content: Mapping[str, Any]) -> Iterator[str]:
    counts, checks = content["counts"], content["checks"]
    if not checks.keys() >= NECESSARY_CHECKS:
        yield "a check of the verification is missing"
    for name, check in sorted(checks.items()):
        wanted = counts["received"] if name == "conservation" else counts["released"]
        if check["passed"] is not True or check["found"] != 0:
            yield f"the check {name} did not pass"
        elif check["examined"] != wanted:
            yield f"the check {name} did not look at everything"
