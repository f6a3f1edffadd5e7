from __future__ import annotations

import json
import shutil
import stat
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from fiona_dagster.adapters.proofs import (
    check_proof,
    find_proofs,
    prove_release,
    read_proof,
    versions,
    write_proof,
)
from fiona_dagster.adapters.releases import deidentify_study, verify_release
from fiona_dagster.adapters.signing import SigningKey, public_pem, read_public_key
from fiona_dagster.domain.deid.profile import Code, Profile
from fiona_dagster.domain.deid.proof import content_problems, original_link, profile_of
from fiona_dagster.domain.deidentification import SourceInstance
from fiona_dagster.domain.errors import ConfigurationError, FionaError
from fiona_dagster.domain.project_keys import fingerprint, key_id
from fiona_dagster.domain.signed import canonical, parsed
from fiona_dagster.domain.verification import VerifiedStudy
from tests.domain.deid.planted import GONE, KEY, ct_instance, request, saved

SERIES_DESCRIPTION = 0x0008103E
PROFILE = Profile(name="Keeps", overrides=((0x00181030, Code.REMOVE), (0x00080070, Code.EMPTY)))
NOON = 1_790_000_000.0


class Release:
    """A verified release of two images, with what it was made of."""

    def __init__(self, folder: Path, numbers: tuple[int, ...] = (1, 2), now: float = NOON) -> None:
        self.folder, self.target = folder / "out", folder / "out.proof.json"
        self.site = SigningKey(folder.parent / "config" / "signing.pem")
        sources = [
            SourceInstance(
                saved(ct_instance(n), folder / "in" / f"{n}"), n, str(ct_instance(n).SOPInstanceUID)
            )
            for n in numbers
        ]
        sources.append(SourceInstance(folder / "in" / "gone", 99, "1.2.3", held_reason="kept aside"))
        self.request = request(self.folder)
        self.copies = deidentify_study(sources, self.request, KEY, PROFILE)
        found = verify_release(self.copies, sources, self.request, KEY, PROFILE, revision=4)
        assert isinstance(found, VerifiedStudy), found.checks
        self.verified, self.sources = found, sources
        self.prove(now)

    def prove(self, now: float) -> None:
        prove_release(
            self.target, self.verified, self.sources, self.request.project, PROFILE, KEY, self.site, now
        )

    @property
    def public(self) -> bytes:
        return self.site.public_key()

    @property
    def content(self) -> dict[str, Any]:
        return parsed(self.target.read_bytes())[0]

    def check(self) -> list[str]:
        return check_proof(self.target, self.folder, self.public)

    def file(self, number: int = 0) -> Path:
        return sorted(self.folder.rglob("*.dcm"))[number]


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(tmp_path / "one")


def test_a_proof_names_every_copy_method_and_check_and_nothing_of_the_patient(release: Release) -> None:
    content = release.content
    assert release.check() == []
    assert read_proof(release.target).signed == "unknown"
    assert read_proof(release.target, release.public).signed == "known"
    assert content["counts"] == {"received": 3, "released": 2, "held": 1, "excluded": 0, "failed": 0}
    assert content["reasons"] == [{"count": 1, "disposition": "held", "reason": "kept aside"}]
    assert content["checks"]["no_removed_value_left"] == {"examined": 2, "found": 0, "passed": True}
    assert content["method"]["overrides"] == [
        {"action": "empty", "keyword": "Manufacturer", "tag": "00080070"},
        {"action": "remove", "keyword": "ProtocolName", "tag": "00181030"},
    ]
    assert (content["revision"], content["made_at"]) == (4, "2026-09-21T14:13:20Z")
    assert content["method"]["digest"] == release.copies.method_digest
    assert content["key_id"] == key_id(fingerprint(KEY))
    assert content["versions"] == versions()
    assert {"fiona-dagster", "python", "pydicom", "engine_sha256"} == versions().keys()
    text = release.target.read_text()
    assert not [value for value in GONE if value.lower() in text.lower()]
    assert KEY.hex() not in text
    assert release.sources[0].sop_instance_uid not in text


def test_with_the_key_a_copy_leads_to_its_original_and_without_it_nowhere(release: Release) -> None:
    links = {one["original"]: one["sop_instance_uid"] for one in release.content["instances"]}
    for source, copy in zip(release.sources, release.copies.released, strict=False):
        assert links[original_link(KEY, source.sop_instance_uid)] == copy.sop_instance_uid
        assert original_link(b"x" * 32, source.sop_instance_uid) not in links
        number = int(copy.sop_instance_uid.rpartition(".")[2])
        assert f"{number:032x}" not in original_link(KEY, source.sop_instance_uid)


def test_series_and_study_lead_to_theirs_as_well(release: Release) -> None:
    original, content = dcmread(release.sources[0].path), release.content
    assert content["study_original"] == original_link(KEY, original.StudyInstanceUID)
    assert content["series"] == [
        {
            "series_instance_uid": release.copies.released[0].series_instance_uid,
            "original": original_link(KEY, original.SeriesInstanceUID),
        }
    ]
    assert content_problems(content) == []


def test_a_proof_names_all_series_of_its_copies_or_is_an_earlier_one(release: Release) -> None:
    content = release.content
    content["series"][0]["series_instance_uid"] = "2.25.1"
    assert content_problems(content) == ["the proof does not name the series of its instances"]
    del content["series"], content["study_original"]
    assert content_problems(content) == []


def test_the_same_release_has_the_same_proof_and_keeps_it(release: Release) -> None:
    before = release.target.read_bytes()
    release.prove(NOON + 5)
    assert release.target.read_bytes() == before
    release.target.unlink()
    release.prove(NOON + 5)
    there = json.loads(before)["content"]
    assert {**release.content, "made_at": ""} == {**there, "made_at": ""}
    release.target.write_text("no proof")
    release.prove(NOON + 7)
    assert release.check() == []


def test_the_profile_of_a_proof_has_its_overrides(release: Release) -> None:
    profile, dates = profile_of(release.content)
    assert profile.overrides == tuple(sorted(PROFILE.overrides))
    assert (profile.name, dates) == ("Keeps", "per_participant")
    dataset = dcmread(release.file())
    dataset.Manufacturer = "Maker"
    dataset.save_as(release.file(), enforce_file_format=False)
    assert any("Manufacturer is not empty" in one for one in release.check())


def one_byte(release: Release) -> None:
    content = bytearray(release.file().read_bytes())
    content[-1] ^= 1
    release.file().write_bytes(content)


def an_instance_more(release: Release) -> None:
    other = Release(release.folder.parent.parent / "more", (3,))
    shutil.copy(other.file(), release.file().parent)


def the_same_twice(release: Release) -> None:
    shutil.copy(release.file(), release.file().with_name("again.dcm"))


def another_file(release: Release) -> None:
    (release.folder / "notes.txt").write_text("about the patient")


def proof_of_another(release: Release) -> None:
    other = Release(release.folder.parent.parent / "other", (3, 4))
    shutil.copy(other.target, release.target)


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (one_byte, "its bytes are not those of the proof"),
        (an_instance_more, "not in the proof"),
        (lambda one: one.file().unlink(), "in the proof, but not there"),
        (the_same_twice, "there twice"),
        (another_file, "not in the proof"),
        (proof_of_another, "not in the proof"),
        (proof_of_another, "in the proof, but not there"),
    ],
)
def test_a_release_that_was_changed_is_found(
    release: Release, tamper: Callable[[Release], None], words: str
) -> None:
    assert release.check() == []
    tamper(release)
    assert any(words in one for one in release.check())


def changed(place: tuple[str, ...], value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for name in place[:-1]:
            content = content[name]
        content[place[-1]] = value

    return change


CHANGES = [
    (changed(("counts", "held"), 0), "received is not"),
    (changed(("counts", "released"), 1), "received is not"),
    (changed(("reasons",), []), "do not add up"),
    (changed(("instances",), []), "as many instances"),
    (changed(("release_sha256",), "0" * 64), "the sum over the release"),
    (changed(("checks", "valid_uids", "passed"), 0), "valid_uids did not pass"),
    (changed(("checks", "no_removed_value_left", "found"), 1), "did not pass"),
    (changed(("checks", "no_removed_value_left", "examined"), 1), "did not look at everything"),
    (changed(("checks",), {}), "a check of the verification is missing"),
    (changed(("method", "edition"), "1993"), "this version knows"),
    (changed(("method", "options"), ["retain_everything"]), "this version knows"),
    (changed(("method", "date_mode"), "never"), "this version knows"),
    (changed(("method", "standard_body_parts"), "perhaps"), "this version knows"),
    (changed(("method", "something_new"), 1), "this version knows"),
    (changed(("method",), {}), "not complete"),
    (changed(("format",), "fiona-proof/9"), "does not know"),
    (changed(("participant",), "P-002"), "participant, project or method"),
    (changed(("method", "digest"), "0" * 64), "participant, project or method"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), CHANGES)
def test_a_proof_that_was_changed_is_found_by_its_signature_and_by_what_it_says(
    release: Release, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    document = json.loads(release.target.read_text())
    change(document["content"])
    release.target.write_text(json.dumps(document))
    assert any("the signature is not right" in one for one in release.check())
    write_proof(release.target, document["content"], release.site)
    found = release.check()
    assert any(words in one for one in found), found
    assert not any("signature" in one for one in found)


def test_every_value_of_a_proof_is_signed(release: Release) -> None:
    document = json.loads(release.target.read_text())
    for name in document["content"]:
        other = {**document, "content": {**document["content"], name: "other"}}
        release.target.write_text(json.dumps(other))
        assert read_proof(release.target).signed == "wrong", name
    for name in document["signature"]:
        other = {**document, "signature": {**document["signature"], name: "b3RoZXI="}}
        release.target.write_text(json.dumps(other))
        assert read_proof(release.target).signed == "wrong", name


def test_a_signature_of_another_key_is_wrong_where_the_key_is_known(release: Release, tmp_path: Path) -> None:
    other = SigningKey(tmp_path / "elsewhere" / "signing.pem")
    release.target.write_bytes(other.sign(release.content))
    assert read_proof(release.target).signed == "unknown"
    assert check_proof(release.target, release.folder) == []
    assert any("signed by another key" in one for one in release.check())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"content": [], "signature": {}}',
        '{"content": {"a": 1, "a": 2}, "signature": {}}',
        '{"content": {"a": 1.5}, "signature": {}}',
        '{"content": {"a": NaN}, "signature": {}}',
        "[" * 100_000,
    ],
)
def test_what_is_no_proof_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(ConfigurationError, match="is not a proof"):
        read_proof(tmp_path / "p.json")


def test_nothing_that_a_proof_may_lack_ends_in_a_crash(release: Release) -> None:
    whole = release.content
    for name in whole:
        for value in (None, 7, "x", [], {}, [{}]):
            found = content_problems({**whole, name: value})
            assert isinstance(found, list)
            write_proof(release.target, {**whole, name: value}, release.site)
            release.check()
        lacking = content_problems({key: one for key, one in whole.items() if key != name})
        earlier = {"accepted", "series"}  # which proofs of earlier versions do not have
        assert bool(lacking) == (name not in earlier), name


def test_proofs_are_found_inside_and_beside(release: Release) -> None:
    assert [one.place for one in find_proofs(release.folder)] == [str(release.target)]
    packed = release.folder.with_name("out.zip")
    with zipfile.ZipFile(packed, "w") as archive:
        for file in release.folder.rglob("*.dcm"):
            archive.write(file, f"baseline/DICOM/{file.name}")
        archive.write(release.target, "proof.json")
    (proof,) = find_proofs(packed, release.public)
    assert (proof.place, proof.signed) == ("proof.json", "known")
    assert check_proof(release.target, packed, release.public) == []
    release.target.rename(release.folder / "proof.json")
    (proof,) = find_proofs(release.folder)
    assert proof.place.endswith("out/proof.json")


def test_the_public_key_can_be_given_away_and_the_private_one_is_ours(
    release: Release, tmp_path: Path
) -> None:
    (tmp_path / "site.pem").write_bytes(public_pem(release.public))
    assert read_public_key(tmp_path / "site.pem") == release.public
    private = release.site.path
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    with pytest.raises(ConfigurationError, match="is not a public key") as refused:
        read_public_key(private)
    assert private.read_text().splitlines()[1] not in str(refused.value)
    private.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        release.site.public_key()


def test_the_signing_key_may_come_from_the_environment(tmp_path: Path) -> None:
    seed = "5e" * 32
    given = SigningKey(tmp_path / "none.pem", {"FIONA_SIGNING_KEY": seed})
    assert given.public_key() == SigningKey(tmp_path / "x.pem", {"FIONA_SIGNING_KEY": seed}).public_key()
    made = SigningKey(tmp_path / "made.pem")
    from_file = SigningKey(tmp_path / "none.pem", {"FIONA_SIGNING_KEY": f"file:{tmp_path / 'made.pem'}"})
    assert made.public_key() == from_file.public_key() != given.public_key()
    assert not (tmp_path / "none.pem").exists()
    for wrong in ("5e5e", "no key 5e5e", f"file:{tmp_path / '5e5e'}"):
        with pytest.raises(FionaError) as refused:
            SigningKey(tmp_path / "none.pem", {"FIONA_SIGNING_KEY": wrong}).sign({})
        assert "5e5e" not in str(refused.value).replace(str(tmp_path), "") or wrong.startswith("file:")


def test_one_content_has_one_form() -> None:
    assert canonical({"b": [1, True, None], "a": "å"}) == b'{"a":"\\u00e5","b":[1,true,null]}'
    for wrong in (1.5, b"x", {1: "x"}):
        with pytest.raises(ValueError, match=r"form|text"):
            canonical({"a": wrong})


def test_a_proof_is_not_made_of_a_release_with_another_study(release: Release) -> None:
    other = replace(release.verified, participant="P-009")
    project = release.request.project
    prove_release(release.target, other, release.sources, project, PROFILE, KEY, release.site, NOON)
    assert any("participant" in one for one in release.check())
