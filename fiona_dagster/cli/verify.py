"""`fiona verify`: is this release what it should be? Works without originals, server and keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fiona_dagster.adapters.package_statement import Statement
    from fiona_dagster.adapters.proofs import Proof
    from fiona_dagster.adapters.signing import Signed

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_SIGNED_BY: dict[Signed, str] = {
    "known": "signed by the key of --public-key",
    "unknown": "signed by a key that nobody vouches for: give the site's with --public-key",
    "wrong": "NOT signed, or by another key",
}


_UNPROVEN = """\
there is no proof inside or beside it: only what the files themselves say was checked, and sums of a manifest
that nobody signed. NOT checked were
- who made this release, and whether files are missing, added or changed
- overrides of the profile that it was made by, but for those of --profile
- that no value of an original stands in it: the originals are needed for that
Ask for its proof (proof.json, or the folder OUT.proofs) and give the site's key with --public-key."""
"""What somebody should know who has files alone."""


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--proof", "proof_files", type=_FILE, multiple=True, help="Default: inside or beside PATH.")
@click.option("--public-key", "public_key_file", type=_FILE, help="The site's, from `fiona keys public`.")
@click.option(
    "--profile",
    "profile_file",
    type=_FILE,
    help="The profile that it was made by, where it has overrides and no proof.",
)
def verify(
    path: Path, proof_files: tuple[Path, ...], public_key_file: Path | None, profile_file: Path | None
) -> None:
    """Check a release: a folder or a zip of de-identified DICOM files.

    Its proofs (signature, every file's SHA-256, exactly these instances, the profile that they name), sums of its
    manifest, readability, group 0012, nothing that the profile removes, valid UIDs. Prints a JSON summary, and
    a line for each problem on stderr. Exit status 1 when there is any, or nothing to check.
    """
    from fiona_dagster.adapters.package_statement import inspect_statement
    from fiona_dagster.adapters.proofs import find_proofs, read_proof
    from fiona_dagster.adapters.release_inspection import inspect_release, refuse_encrypted
    from fiona_dagster.adapters.signing import read_public_key
    from fiona_dagster.domain.deid.profile_file import profile_from_yaml
    from fiona_dagster.domain.deid.proof import accepted_in

    profile = (
        profile_from_yaml(profile_file.read_text(encoding="utf-8"), str(profile_file))
        if profile_file
        else None
    )
    refuse_encrypted(path)
    known = read_public_key(public_key_file) if public_key_file else None
    proofs = [read_proof(one, known) for one in proof_files] or find_proofs(path, known)
    result = inspect_release(path, profile, proofs)
    problems = result.problems
    statement = inspect_statement(path, known)
    if statement is not None:
        problems = (*problems, *statement.problems)
        click.echo(f"statement of the package: {_SIGNED_BY[statement.signed]}", err=True)
        for departure in statement.content.get("departures", ()):
            click.echo(f"not as the proofs of the copies have it: {departure}", err=True)
    if known is not None and not proofs and statement is None:
        problems = (*problems, (path.name, "there is no proof whose signature could be checked"))
    summary = {"files": result.files, "instances": result.instances, "problems": len(problems)}
    click.echo(
        json.dumps(
            {
                "path": str(path),
                **summary,
                "proofs": [_shown(one) for one in proofs],
                "statement": _stated(statement) if statement is not None else None,
            },
            indent=2,
        )
    )
    for one in proofs:
        click.echo(f"{Path(one.place).name}: {_SIGNED_BY[one.signed]}", err=True)
        for place, found in accepted_in(one.content):
            click.echo(
                f"{Path(one.place).name}: a person accepted what was found in {place} ({found} times) as no leak",
                err=True,
            )
    if not proofs and statement is None:
        click.echo(_UNPROVEN, err=True)
    if problems:
        _show(problems)
    nothing = not result.instances and not result.summed and not proofs and statement is None
    if nothing:
        click.echo("there is nothing to check: no DICOM file, no proof, no sums of a manifest", err=True)
    if problems or nothing:
        raise SystemExit(1)


def _shown(proof: Proof) -> dict[str, Any]:
    """What the summary says of a proof; None for what it lacks."""
    content = proof.content
    named = ("made_at", "project", "participant", "event", "revision", "study_instance_uid", "counts")
    method = content.get("method")
    conformance = content.get("conformance")
    return {
        "file": proof.place,
        "signature": proof.signed,
        "signed_by": proof.key_id,
        **{name: content.get(name) for name in named},
        "method_digest": method.get("digest") if isinstance(method, dict) else None,
        "profile": method.get("profile") if isinstance(method, dict) else None,
        "pixels": _pixels(content),
        "conformance": conformance,
        "accepted": content.get("accepted", []),
    }


def _pixels(content: Mapping[str, Any]) -> dict[str, int]:
    """Of how many images the proof says that pixels were searched for text, masked, or kept because the project has
    them excluded."""
    listed = content.get("instances")
    told = [one.get("pixels") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    found = [one for one in told if isinstance(one, dict)]
    return {
        "searched": sum(not one.get("excluded_by") for one in found),
        "masked": sum(bool(one.get("boxes") or one.get("overlay_cleared")) for one in found),
        "excluded": sum(bool(one.get("excluded_by")) for one in found),
    }


def _stated(statement: Statement) -> dict[str, Any]:
    """What the summary says of the statement of a package of changed or converted files."""
    named = ("project", "export_type", "converter", "departures", "method_digests")
    return {
        "signature": statement.signed,
        "signed_by": statement.key_id,
        **{name: statement.content.get(name) for name in named},
        "files": len(statement.content.get("files", [])),
        "proofs": len(statement.content.get("proofs", [])),
    }


def _show(problems: Sequence[tuple[str, str]]) -> None:
    """A line each: names of files are long, and a table would cut them."""
    for file, problem in problems[:200]:
        click.echo(f"{file}: {problem}", err=True)
    if len(problems) > 200:
        click.echo(f"… and {len(problems) - 200} more", err=True)
