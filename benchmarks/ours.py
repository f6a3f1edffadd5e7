"""What is measured of ours, as a process of its own: `python benchmarks/ours.py engine|verified IN OUT`.

`engine` makes the copies of one study; `verified` reads originals and copies again as well, as every release does.
IN has the list of its instances beside it (`generate.py`), as the ledger has it in the gateway.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path


def deidentify(source: Path, target: Path, *, verify: bool) -> str:
    """De-identify one study as a project with dates shifted by participant. Returns what is wrong, or ''."""
    from fiona_dagster.adapters.releases import (
        ReleaseRequest,
        SourceInstance,
        deidentify_study,
        verify_release,
    )
    from fiona_dagster.domain.deid.profile import default_profile
    from fiona_dagster.domain.project import Project

    lines = source.with_suffix(".index").read_text(encoding="ascii").splitlines()
    sources = [
        SourceInstance(source / name, number, uid)
        for number, (name, uid) in enumerate((line.split() for line in lines), 1)
    ]
    project = Project(name="BENCHMARK", date_mode="per_participant")
    request = ReleaseRequest(project, "P-0001", "baseline", target)
    key, profile = bytes(range(32)), default_profile()
    study = deidentify_study(sources, request, key, profile, workers=1)
    refused = Counter(one.reason for one in study.instances if one.disposition != "released")
    if refused:
        return f"not released: {dict(refused)}"
    if not verify:
        return ""
    from fiona_dagster.domain.verification import VerifiedStudy

    outcome = verify_release(study, sources, request, key, profile, workers=1)
    return "" if isinstance(outcome, VerifiedStudy) else f"not verified: {outcome.reason}"


if __name__ == "__main__":
    problem = deidentify(Path(sys.argv[2]), Path(sys.argv[3]), verify=sys.argv[1] == "verified")
    if problem:
        sys.exit(problem)
