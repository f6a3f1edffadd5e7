"""What the comparison calls what happened, for every action and for places where bytes and text tell otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from fiona_dagster.adapters.differences import compare_copies, try_study
from fiona_dagster.domain.deid.codes import Option
from fiona_dagster.domain.deid.difference import Comparison, attribute_name
from fiona_dagster.domain.deid.named_profiles import fiona_profile
from fiona_dagster.domain.deid.profile import Code, Profile
from fiona_dagster.domain.deid.tally import Line, Tally
from fiona_dagster.domain.deidentification import SourceInstance
from fiona_dagster.domain.project import Project
from tests.domain.deid.planted import KEY, ct_instance, plant_unknown


def lines(folder: Path, datasets: list[FileDataset], *profiles: Profile) -> list[Line]:
    sources = []
    for number, dataset in enumerate(datasets):
        path = folder / f"{number}.dcm"
        syntax = dataset.file_meta.TransferSyntaxUID
        dcmwrite(
            path,
            dataset,
            implicit_vr=syntax == ImplicitVRLittleEndian,
            little_endian=syntax != ExplicitVRBigEndian,
            enforce_file_format=False,
        )
        sources.append(SourceInstance(path, None, str(dataset.SOPInstanceUID)))
    trials = [
        try_study(sources, Project(name="STUDY_A", profile=profile), "P-001", "", KEY) for profile in profiles
    ]
    assert {one.disposition for trial in trials for one in trial.instances} == {"released"}
    comparison, tally = Comparison(profiles, "per_participant"), Tally()
    compare_copies(sources, trials, comparison, tally)
    assert tally.instances == len(datasets)
    return tally.lines()


def actions(folder: Path, dataset: FileDataset, *profiles: Profile) -> dict[str, tuple[str, ...]]:
    return {one.attribute: one.actions for one in lines(folder, [dataset], *(profiles or (Profile(),)))}


def test_text_in_another_character_set_is_kept(tmp_path: Path) -> None:
    dataset = ct_instance()
    dataset.Manufacturer = "Høyre"
    assert actions(tmp_path, dataset)["Manufacturer"] == ("kept",)


def test_a_number_that_is_none_is_emptied(tmp_path: Path) -> None:
    dataset = ct_instance()
    plant_unknown(dataset, 0x00180060, b"12 kV ")
    assert actions(tmp_path, dataset)["KVP"] == ("emptied",)


def test_a_dummy_is_a_replacement_in_values_and_in_sequences(tmp_path: Path) -> None:
    profile = Profile(
        name="x", overrides=((0x00080070, Code.REPLACE), (0x00321064, Code.REPLACE), (0x00082112, Code.EMPTY))
    )
    dataset = ct_instance()
    code = Dataset()
    code.CodeValue, code.CodeMeaning = "1234", "Liver"
    dataset.RequestedProcedureCodeSequence = [code]
    found = actions(tmp_path, dataset, profile)
    assert found["Manufacturer"] == ("replaced",)
    assert found["RequestedProcedureCodeSequence"] == ("replaced",)
    assert found["RequestedProcedureCodeSequence.CodeMeaning"] == ("removed",)
    assert found["SourceImageSequence"] == ("emptied",)
    assert found["SourceImageSequence.ReferencedSOPInstanceUID"] == ("removed",)


def test_a_uid_that_is_none_is_mapped_where_uids_are_retained(tmp_path: Path) -> None:
    dataset = ct_instance()
    dataset.FrameOfReferenceUID = "Zwingenberger"
    found = actions(tmp_path, dataset, Profile(name="x", options=frozenset({Option.RETAIN_UIDS})))
    assert found["FrameOfReferenceUID"] == ("mapped",)
    assert found["StudyInstanceUID"] == ("kept",)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_every_encoding_tells_the_same(tmp_path: Path, syntax: str) -> None:
    def of(transfer_syntax: str | None, folder: str) -> dict[str, tuple[str, ...]]:
        dataset = ct_instance()
        for tag in (0x00131010, 0x00081048, 0x0008FFFE, 0x00111001):
            del dataset[tag]
        for item in dataset.ContributingEquipmentSequence:
            _without_private(item)
        for element in [one for one in dataset if one.tag.is_private]:
            del dataset[element.tag]
        if transfer_syntax:
            dataset.file_meta.TransferSyntaxUID = transfer_syntax
        (tmp_path / folder).mkdir()
        return actions(tmp_path / folder, dataset)

    assert of(syntax, "other") == of(None, "explicit")


def _without_private(item: Dataset) -> None:
    del item[0x00111001]
    for inner in item.get("PurposeOfReferenceCodeSequence", ()):
        _without_private(inner)


def test_items_are_folded_and_instances_counted_once(tmp_path: Path) -> None:
    datasets = [ct_instance(1), ct_instance(2), ct_instance(3)]
    del datasets[2].ContributingEquipmentSequence
    for dataset in datasets:
        dataset.SourceImageSequence = [dataset.SourceImageSequence[0], dataset.SourceImageSequence[0]]
    found = {one.attribute: one for one in lines(tmp_path, datasets, Profile())}
    assert found["SourceImageSequence.ReferencedSOPInstanceUID"].instances == 3
    nested = "ContributingEquipmentSequence.PurposeOfReferenceCodeSequence.DeviceUID"
    assert found[nested].instances == 2
    assert not [name for name in found if "PurposeOfReferenceCodeSequence.PurposeOf" in name]


def test_a_sequence_differs_only_where_something_in_it_does(tmp_path: Path) -> None:
    found = lines(
        tmp_path, [ct_instance()], Profile(), Profile(name="x", overrides=((0x00181002, Code.REMOVE),))
    )
    assert {one.attribute for one in found if one.differs} == {
        "ContributingEquipmentSequence.DeviceUID",
        "ContributingEquipmentSequence.PurposeOfReferenceCodeSequence.DeviceUID",
    }


def test_what_the_gateway_writes_is_no_difference(tmp_path: Path) -> None:
    other = Profile(name="another name", options=frozenset({Option.RETAIN_INSTITUTION_IDENTITY}))
    found = {one.attribute: one for one in lines(tmp_path, [ct_instance()], Profile(), other)}
    for name in (
        "DeidentificationMethod",
        "DeidentificationMethodCodeSequence",
        "PatientID",
        "InstitutionName",
    ):
        assert found[name].actions == ("made anew", "made anew")
        assert not found[name].differs


def test_a_body_part_of_nobodys_list_is_replaced(tmp_path: Path) -> None:
    dataset = ct_instance()
    dataset.BodyPartExamined = "ZWINGEN"
    assert actions(tmp_path, dataset, Profile(), fiona_profile())["BodyPartExamined"] == (
        "replaced",
        "cleaned",
    )


def test_a_creator_that_nobody_knows_is_not_told() -> None:
    assert attribute_name(0x00091001, "Dr Zwingenberger") == "0009xx01(private)"
    assert attribute_name(0x0019100C, "SIEMENS MR HEADER ") == "0019xx0C(SIEMENS MR HEADER)"
    assert attribute_name(0x00100010) == "PatientName"
    assert attribute_name(0x0008FFFE) == "0008FFFE"
