from __future__ import annotations

from typing import Any

import pytest

from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.exports.bids import (
    Converted,
    Participant,
    Session,
    bids_sidecar,
    dataset_files,
    label,
    placed,
)

SESSION = Session("P001", "Baseline")


def image(
    stem: str, kind: str, guess: str, axes: int = 4, *, endings: tuple[str, ...] = (), **sidecar: Any
) -> Converted:
    return Converted(
        stem, {"BidsGuess": [kind, guess], **sidecar}, axes, frozenset({".nii", ".json", *endings})
    )


def name(*images: Converted) -> list[str]:
    found = placed(images, SESSION)
    return [found[one.stem] for one in images]


def test_images_are_named_by_what_they_are() -> None:
    diffusion = (".bval", ".bvec")
    assert name(
        image("1", "anat", "_acq-tfl3_run-1_T1w", 3),
        image("2", "func", "_acq-ep_dir-AP_run-2_bold", RepetitionTime=2, ProtocolName="n-back 2"),
        image("3", "dwi", "_acq-ep_dir-AP_run-3_dwi", endings=diffusion),
    ) == [
        "sub-P001/ses-Baseline/anat/sub-P001_ses-Baseline_acq-tfl3_T1w",
        "sub-P001/ses-Baseline/func/sub-P001_ses-Baseline_task-nback2_acq-ep_dir-AP_bold",
        "sub-P001/ses-Baseline/dwi/sub-P001_ses-Baseline_acq-ep_dir-AP_dwi",
    ]


def test_a_second_image_of_one_name_gets_a_run_before_its_echo() -> None:
    twice = [image(stem, "func", "_acq-ep_echo-1_bold", RepetitionTime=2) for stem in ("1", "2")]
    assert [one.rpartition("/")[2] for one in name(*twice)] == [
        f"sub-P001_ses-Baseline_task-unknown_acq-ep_run-{n}_echo-1_bold" for n in (1, 2)
    ]


@pytest.mark.parametrize(
    "one",
    [
        image("1", "discard", "_acq-x_localizer"),
        image("1", "anat", "_acq-x_MP2RAGE"),
        image("1", "dwi", "_dwi"),
        image("1", "func", "_bold"),
        image("1", "fmap", "_acq-x_epi", PhaseEncodingDirection="j", TotalReadoutTime=0.1),
        image("1", "fmap", "_phasediff", EchoTime=0.1),
        image("1", "fmap", "_magnitude"),
        image("1", "perf", "_asl"),
        Converted("1", {"BidsGuess": "T1w"}, 3, frozenset({".nii"})),
        Converted("1", {}, 3, frozenset({".nii"})),
    ],
)
def test_what_has_no_certain_place_goes_to_sourcedata(one: Converted) -> None:
    assert name(one) == ["sourcedata/sub-P001/ses-Baseline/1"]


def test_a_field_map_and_its_magnitude_stay_together() -> None:
    names = name(image("1", "fmap", "_magnitude", 3), image("2", "fmap", "_fieldmap", 3, Units="Hz"))
    assert [one.rpartition("_")[2] for one in names] == ["magnitude", "fieldmap"]


def test_a_single_volume_is_no_time_series() -> None:
    assert name(image("1", "func", "_bold", 3))[0].endswith("_sbref")


def test_the_sidecar_gets_its_task_and_loses_the_guess() -> None:
    assert bids_sidecar({"BidsGuess": [], "EchoTime": 1}, "x_task-rest_bold") == {
        "EchoTime": 1,
        "TaskName": "rest",
    }


def test_the_participants_are_a_table() -> None:
    files = dataset_files("PROJ1", [Participant("P1", "F", "018M"), Participant("P2")], [("x", "1")])
    assert files["participants.tsv"] == b"participant_id\tage\tsex\nsub-P1\t1.5\tF\nsub-P2\tn/a\tn/a\n"


def test_a_label_is_letters_and_digits() -> None:
    assert label("P_00-1") == "P001"
    with pytest.raises(Permanent, match="cannot be named"):
        label("___")
