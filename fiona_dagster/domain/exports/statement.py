"""What a site signs of a package whose files are made from copies: which files, by which method, from which releases.

The proof of a release names the copies; files that were changed or converted from them have other bytes. The statement
names these, the proofs that they came from, and in what they depart from those, so that a chain of signatures leads
from each file to the release. That they were made of these copies, and rightly, is the site's word: from the package
alone nobody can check it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

STATEMENT_FORMAT = "fiona-package-statement/1"
STATEMENT_FILE = "proofs/package.json"


def statement_of(
    *,
    project: str,
    export_type: str,
    export_digest: str,
    converter: str,
    files: Sequence[tuple[str, str]],
    proofs: Sequence[tuple[str, str]],
    methods: Sequence[str],
    departures: Sequence[str] = (),
    more: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The content to sign; it has no time, so that the same package has the same statement.

    Args:
        project: whose copies they were.
        export_type: the format.
        export_digest: of the project's choices.
        converter: name and version of what converted; blank where nothing did.
        files: name and SHA-256 of every file in the package but this statement; of a package of many studies that of
            its manifest, which has the others.
        proofs: name and SHA-256 of the proofs in the package.
        methods: method digests of the copies.
        departures: in what the files differ from the copies, in words: what the proofs say does not hold for these.
        more: of one study: participant, event, study_instance_uid.
    """
    return {
        "format": STATEMENT_FORMAT,
        "project": project,
        "export_type": export_type,
        "export_digest": export_digest,
        "converter": converter,
        "departures": list(departures),
        "files": [{"name": name, "sha256": sha256} for name, sha256 in sorted(files)],
        "proofs": [{"name": name, "sha256": sha256} for name, sha256 in sorted(proofs)],
        "method_digests": sorted(set(methods)),
        **(more or {}),
    }


def statement_problems(
    content: Mapping[str, Any], found: Mapping[str, str], methods: Mapping[str, str]
) -> list[tuple[str, str]]:
    """(name, what is wrong) with a package by its statement.

    Args:
        content: the statement.
        found: SHA-256 of everything in the package but the statement, by name, and of what its manifest lists as the
            manifest has it.
        methods: method digest of each proof that is there and can be read, by name.
    """
    try:
        stated = {str(one["name"]): str(one["sha256"]) for one in (*content["files"], *content["proofs"])}
        proofs = [str(one["name"]) for one in content["proofs"]]
        digests = {str(one) for one in content["method_digests"]}
        sound = content["format"] == STATEMENT_FORMAT
    except (KeyError, TypeError):
        sound = False
    if not sound:
        return [(STATEMENT_FILE, "is no statement that this version knows")]
    problems = [
        (name, "not in the statement" if name not in stated else "its bytes are not those of the statement")
        for name, sha256 in sorted(found.items())
        if stated.get(name) != sha256
    ]
    problems += [(name, "in the statement, but not there") for name in sorted(stated.keys() - found.keys())]
    if not proofs:
        problems.append((STATEMENT_FILE, "it names no proof of a release"))
    problems += [
        (name, "its method is not that of the statement")
        for name in proofs
        if name in found and methods.get(name) not in digests
    ]
    return problems
