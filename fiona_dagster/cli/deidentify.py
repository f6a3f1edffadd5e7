"""`fiona deidentify`: engine and verification on a folder, without any server."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fiona_dagster.cli.chosen_project import destroyed_at, project_and_keys, project_without_ledger
from fiona_dagster.cli.map_file import Row, check_places, staging_beside, write_map, writing
from fiona_dagster.cli.overlap import refuse_overlap
from fiona_dagster.cli.profile import from_file
from fiona_dagster.cli.source_studies import one_patients_studies, with_classes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fiona_dagster.domain.deid.profile import Profile
    from fiona_dagster.domain.deidentification import DeidentifiedInstance, SourceInstance
    from fiona_dagster.domain.project import Project
    from fiona_dagster.domain.verification import Check, VerifiedStudy

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("source", metavar="IN", type=click.Path(exists=True, path_type=Path))
@click.argument("target", metavar="OUT", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--project", "project_name", required=True, help="Project; one that is not configured has defaults."
)
@click.option("--participant", required=True, help="PatientID and PatientName of the copies.")
@click.option("--event", default="", help="Event, written as EventName:<event>.")
@click.option("--profile", "profile_file", type=_FILE, help="YAML: name, options, overrides, weakens.")
@click.option(
    "--map", "map_file", type=click.Path(dir_okay=False, path_type=Path), help="CSV of old and new UIDs."
)
@click.option(
    "--keyring", "keyring_file", type=click.Path(dir_okay=False, path_type=Path), help="Keys of projects."
)
@click.option("--config", "config_file", type=_FILE, help="config.json of the gateway.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Write nothing; print what would become of IN.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="What --dry-run found, as JSON.",
)
def deidentify(
    source: Path,
    target: Path | None,
    project_name: str,
    participant: str,
    event: str,
    profile_file: Path | None,
    map_file: Path | None,
    keyring_file: Path | None,
    config_file: Path | None,
    is_dry: bool,
    json_file: Path | None,
) -> None:
    """De-identify the DICOM files below IN into the folder OUT.

    Copies are made beside OUT, verified by reading them again, and only then moved into it, study by study: a study
    that does not pass leaves nothing there. Signed proofs of what passed come into OUT.proofs. Prints a JSON summary.
    Exit status 1 when anything was not released and no rule excluded it; 2 when the command cannot run.

    IN and OUT are apart from each other, and --map and --keyring from OUT.

    Copies are made by the project's active key: after `fiona keys rotate` a participant gets other UIDs and dates here
    than before. The gateway knows the key of each participant; this command keeps no account.

    With --dry-run nothing is written, and OUT is not wanted: prints what would become of each file, and of each element
    as shapes and counts.
    """
    check_places({"--map": map_file, "--json": json_file})
    if is_dry:
        _tell_of_destroyed_keys(project_name, config_file, keyring_file)
        _dry_run(source, project_name, participant, event, profile_file, config_file, map_file, json_file)
        return
    if target is None:
        raise click.UsageError("Missing argument 'OUT'.")
    if json_file is not None:
        raise click.UsageError("--json goes with --dry-run.")
    target = target.absolute()
    refuse_overlap(source, target, {"--map": map_file, "--keyring": keyring_file})
    from fiona_dagster.adapters.proofs import prove_release
    from fiona_dagster.domain.deid.codes import Option
    from fiona_dagster.domain.deid.uids import uid_map

    project, keyring, site_key = project_and_keys(project_name, config_file, keyring_file)
    if profile_file is not None:
        project = replace(project, profile=from_file(profile_file))
    profile = project.profile
    key = keyring.project_key(project_name)
    new_uid = uid_map(project, key, retained=Option.RETAIN_UIDS in profile.options)
    studies, others = one_patients_studies(source)
    studies = with_classes(studies, config_file)
    rows = [Row(path, instance) for path, instance in others]
    checks: dict[str, tuple[Check, ...]] = {}
    with writing("OUT"), staging_beside(target) as staging:
        for number, sources in enumerate(studies):
            folder = staging / str(number)
            uid, results, found, verified = _study(sources, project, participant, event, folder, key, profile)
            checks[uid or f"study {number + 1}"] = found
            proof = folder.with_name(f"{number}.proof.json")
            if verified is not None and verified.instances:
                prove_release(proof, verified, sources, project, profile, key, site_key, time.time())
            rows += [Row(one.path, result) for one, result in zip(sources, results, strict=True)]
            _publish(folder, target, results, new_uid)
            _publish_proof(proof, target, verified)
    rows.sort(key=lambda row: row.source)
    if map_file is not None:
        write_map(map_file, rows)
    counts = Counter(row.instance.disposition for row in rows)
    click.echo(json.dumps(_summary(project, participant, profile, target, rows, checks), indent=2))
    if counts["held"] or counts["failed"]:
        raise SystemExit(1)


def _dry_run(
    source: Path,
    project_name: str,
    participant: str,
    event: str,
    profile_file: Path | None,
    config_file: Path | None,
    map_file: Path | None,
    json_file: Path | None,
) -> None:
    from fiona_dagster.cli.dry_run import as_json, dry_run, show, write_json

    project = project_without_ledger(project_name, config_file)
    if profile_file is not None:
        project = replace(project, profile=from_file(profile_file))
    run = dry_run(source, project, participant, event, config_file)
    if map_file is not None:
        write_map(
            map_file, [Row(path, replace(one, path="", sop_instance_uid="")) for path, one in run.files]
        )
    if json_file is not None:
        write_json(json_file, as_json(run))
    show(run)
    if not run.is_sound:
        raise SystemExit(1)


def _tell_of_destroyed_keys(name: str, config_file: Path | None, keyring_file: Path | None) -> None:
    """A dry run needs no key, and would show what can never come about."""
    destroyed = destroyed_at(name, config_file, keyring_file)
    if destroyed:
        click.echo(
            f"fiona: the keys of {name} were destroyed at {destroyed}: nothing can be released for it any more;"
            " this shows only what would become of the files",
            err=True,
        )


def _study(
    sources: Sequence[SourceInstance],
    project: Project,
    participant: str,
    event: str,
    folder: Path,
    key: bytes,
    profile: Profile,
) -> tuple[str, Sequence[DeidentifiedInstance], tuple[Check, ...], VerifiedStudy | None]:
    """De-identify and verify one study; what verification refuses is held, all of it."""
    from rich.console import Console
    from rich.progress import Progress

    from fiona_dagster.adapters.releases import ReleaseRequest, deidentify_study, verify_release
    from fiona_dagster.domain.verification import VerifiedStudy

    request = ReleaseRequest(project, participant, event, folder)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("de-identifying", total=len(sources))

        def told(what: str) -> Callable[[int, int], None]:
            return lambda done, of: bar.update(task, description=what, completed=done, total=of)

        study = deidentify_study(
            sources, request, key, profile, told("de-identifying"), reading=told("reading pixels")
        )
        outcome = verify_release(study, sources, request, key, profile, progress=told("verifying"))
    if isinstance(outcome, VerifiedStudy):
        return study.study_instance_uid, study.instances, outcome.checks, outcome
    for check in outcome.checks:
        for place in () if check.passed else check.places:
            click.echo(f"{check.name}: {place}", err=True)
    held = [
        replace(one, disposition="held", reason=outcome.reason) if one.disposition == "released" else one
        for one in study.instances
    ]
    return study.study_instance_uid, held, outcome.checks, None


def _publish(
    folder: Path, target: Path, results: Sequence[DeidentifiedInstance], new_uid: Callable[[str, int], str]
) -> None:
    """Move released files into OUT, and take away what an earlier run released and this one holds."""
    from fiona_dagster.adapters.durable import sync_folder
    from fiona_dagster.domain.deid.admission import SOP_INSTANCE_UID

    target.mkdir(exist_ok=True)
    touched = {target}
    released = {one.sop_instance_uid for one in results if one.disposition == "released"}
    for one in results:
        if one.disposition == "released":
            place = target / one.path
            place.parent.mkdir(exist_ok=True)
            os.replace(folder / one.path, place)  # noqa: PTH105 — says that an older copy is replaced
            touched.add(place.parent)
        elif one.source_sop_instance_uid:
            uid = new_uid(one.source_sop_instance_uid, SOP_INSTANCE_UID)
            for stale in (
                target.glob(f"*/*.{uid}.dcm") if uid not in released else ()
            ):  # the file's twin has it
                stale.unlink()
    for place in touched:
        sync_folder(place)


def _publish_proof(proof: Path, target: Path, verified: VerifiedStudy | None) -> None:
    """Put a study's proof beside OUT, and take away those of earlier runs whose files are no longer there as proven.

    A proof that says the same stays as it is.
    """
    from fiona_dagster.adapters.durable import rename_durably
    from fiona_dagster.adapters.proofs import proofs_folder, same_proof, withdraw_proofs

    released = verified.instances if verified is not None else ()
    withdraw_proofs(target, {one.path: one.sha256 for one in released})
    if verified is None or not released:
        return
    folder = proofs_folder(target)
    folder.mkdir(exist_ok=True)
    name = f"{verified.study_instance_uid}.{verified.study.manifest_sha256[:12]}.json"
    if not same_proof(proof, folder / name):
        rename_durably(proof, folder / name)


def _summary(
    project: Project,
    participant: str,
    profile: Profile,
    target: Path,
    rows: Sequence[Row],
    checks: dict[str, tuple[Check, ...]],
) -> dict[str, object]:
    from fiona_dagster.domain.deid.method import method_digest
    from fiona_dagster.domain.deidentification import DISPOSITIONS
    from fiona_dagster.domain.pixels.masks import masked_images

    counts = Counter(row.instance.disposition for row in rows)
    pixels = masked_images(row.instance.masking for row in rows) if project.pixels.described() else {}
    return {
        "project": project.name,
        "participant": participant,
        "profile": profile.name,
        "method_digest": method_digest(profile, project),
        "output": str(target),
        "received": len(rows),
        **{name: counts[name] for name in DISPOSITIONS},
        "reasons": dict(sorted(Counter(row.instance.reason for row in rows if row.instance.reason).items())),
        **pixels,
        "studies": {
            uid: {one.name: {"passed": one.passed, "found": one.found} for one in found}
            for uid, found in checks.items()
        },
    }
