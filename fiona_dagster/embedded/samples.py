"""Sample studies for tests and the demo, made from the real files that pydicom carries in its wheel.

Pixels, reports and everything else stay as their makers wrote them, bit for bit. Changed is only what makes files one
study of one fictive patient, and what makes a series of one slice (own SOP Instance UID, Instance Number and position,
the same pixels). The same call writes the same bytes, wherever and whenever.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True)
class SampleStudy:
    """One study on disk, and how a scanner should send it.

    `files` come first, `late` after the study has arrived. `corrupt` are damaged instances that a receiver must refuse
    or hold. `other_content`: under a SOP Instance UID of `files`, with other pixels. `coupled`: whether the coupling
    list is to know its accession number.
    """

    name: str
    modality: str
    description: str
    coupled: bool
    study_instance_uid: str = field(repr=False)
    accession_number: str = field(repr=False)
    patient_id: str = field(repr=False)
    patient_name: str = field(repr=False)
    files: tuple[Path, ...]
    late: tuple[Path, ...] = ()
    corrupt: tuple[Path, ...] = ()
    other_content: tuple[Path, ...] = ()

    @property
    def instance_count(self) -> int:
        """Sound SOP Instances of the study, late ones included."""
        return len(self.files) + len(self.late)


@dataclass(frozen=True)
class _Patient:
    name: str
    patient_id: str
    birth_date: str
    sex: str
    referring_physician: str


@dataclass(frozen=True)
class _Series:
    """Files of one series, below pydicom's test files; each becomes `slices` instances."""

    number: int
    description: str
    sources: tuple[str, ...]
    slices: int = 1
    series_instance_uid: str = ""
    sop_instance_uids: tuple[str, ...] = ()
    frame_of_reference_uid: str = ""


@dataclass(frozen=True)
class _Plan:
    """One study. `keeps_uids`: its files are one study already; only patient and accession number are set."""

    name: str
    modality: str
    description: str
    series: tuple[_Series, ...]
    patient: _Patient
    accession_number: str
    study_description: str = ""
    study_date: str = ""
    study_time: str = ""
    study_instance_uid: str = ""
    keeps_uids: bool = False
    coupled: bool = True
    late: int = 0
    corrupt: bool = False
    other_content: bool = False


def _as_they_are(*sources: str) -> tuple[_Series, ...]:
    return (_Series(0, "", sources),)


# The patients are fictive; their identity numbers have 80 added to the month, as those of Norway's test population.
_SEGMENTED_CT = "1.2.392.200103.20080913.113635"
_MR = ("MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm")
_US = ("examples_ybr_color.dcm", "examples_rgb_color.dcm", "examples_jpeg2k.dcm", "examples_palette.dcm")
_CR = ("CR1/6154", "CR2/6247", "CR3/6278")
_PLANS = (
    _Plan(
        "ct-thorax", "CT", "CT of 12 slices",
        (_Series(2, "Thorax axial", ("CT_small.dcm",), slices=12),),
        _Patient("Ødegård^Bjørn Åge", "13885512345", "19550813", "M", "Sæther^Ragnhild"),
        "HUS2400001", "CT Thorax", "20040119", "072730",
    ),
    _Plan(
        "mr-head", "MR", "MR of 11 slices, three of them late, and the same image in three compressions",
        (_Series(2, "Compressed", _MR), _Series(1, "T2 TSE axial", ("MR_small.dcm",), slices=11)),
        _Patient("Åsen^Gyða Marie", "04927098765", "19701204", "F", "Sæther^Ragnhild"),
        "HUS2400002", "MR Caput", "20040826", "185059", late=3,
    ),
    _Plan(
        "us-heart", "US", "ultrasound in colour: a JPEG film of 30 frames, RGB, JPEG 2000 and palette images",
        (_Series(1, "Hjerte", _US),),
        _Patient("Bjørkås^Håkon", "21894811223", "19480921", "M", "Tjønneland^Øystein"),
        "HUS2400003", "UL Hjerte", "20160503", "120850",
    ),
    _Plan(
        "sr-report", "SR", "two structured reports",
        (_Series(1, "Rapport", ("test-SR.dcm", "reportsi.dcm")),),
        _Patient("Løvås^Sunniva", "30856644556", "19660530", "F", "Tjønneland^Øystein"),
        "HUS2400004", "Rapport", "20010213", "184746", "1.2.276.0.7230010.3.1.4.2139363186.7819.982086466.2",
    ),
    _Plan(
        "seg-liver", "SEG", "a multi-frame segmentation and the three CT slices that it refers to",
        (
            _Series(
                3, "Abdomen", ("CT_small.dcm",), slices=3,
                series_instance_uid=f"{_SEGMENTED_CT}.1.2009.6.22.21.43.10.23430.1",
                sop_instance_uids=tuple(f"{_SEGMENTED_CT}.2.2009.6.22.21.43.10.{n}.1" for n in (23431, 23432, 23433)),
                frame_of_reference_uid=f"{_SEGMENTED_CT}.3.2009.6.22.21.44.34.23882.1",
            ),
            _Series(1, "Liver Segmentation", ("liver_1frame.dcm",)),
        ),
        _Patient("Værøy^Jørn", "17844377889", "19430417", "M", "Sæther^Ragnhild"),
        "HUS2400005", "CT Abdomen", "20030417", "104607", f"{_SEGMENTED_CT}.0.2009.6.22.21.43.10.22941.1",
    ),
    _Plan(
        "cr-uncoupled", "CR", "three radiographs that nobody has assigned to a project",
        _as_they_are(*(f"dicomdirtests/77654033/{one}" for one in _CR)),
        _Patient("Blåfjell^Ingeborg", "08913322110", "19331108", "F", "Sæther^Ragnhild"),
        "HUS2400006", keeps_uids=True, coupled=False,
    ),
    _Plan(
        "ct-corrupt", "CT", "CT of four slices, and two damaged instances",
        _as_they_are(*(f"dicomdirtests/77654033/CT2/{n}" for n in (17106, 17136, 17166, 17196))),
        _Patient("Strømsøy^Arvid", "25825966778", "19590225", "M", "Tjønneland^Øystein"),
        "HUS2400007", keeps_uids=True, corrupt=True,
    ),
    _Plan(
        "mr-same-uid", "MR", "MR of seven slices, one of them sent again with other pixels",
        _as_they_are(*(f"dicomdirtests/98892003/MR700/{n}" for n in (4467, 4528, 4558, 4588, 4618, 4648, 4678))),
        _Patient("Nærland^Åshild", "11907788990", "19771011", "F", "Sæther^Ragnhild"),
        "HUS2400008", keeps_uids=True, other_content=True,
    ),
)  # fmt: skip


def write_samples(folder: Path) -> tuple[SampleStudy, ...]:
    """Write the sample studies below `folder`, a folder each, and say what they are."""
    return tuple(_write(plan, folder / plan.name) for plan in _PLANS)


def _write(plan: _Plan, folder: Path) -> SampleStudy:
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    study_instance_uid = ""
    for series in plan.series:
        for source in series.sources:
            for index in range(series.slices):
                data_set = _instance(plan, series, source, index, number=len(paths) + 1)
                study_instance_uid = str(data_set.StudyInstanceUID)
                paths.append(folder / f"{len(paths) + 1:04d}.dcm")
                data_set.save_as(paths[-1], enforce_file_format=True)
    on_time = len(paths) - plan.late
    return SampleStudy(
        name=plan.name,
        modality=plan.modality,
        description=plan.description,
        coupled=plan.coupled,
        study_instance_uid=study_instance_uid,
        accession_number=plan.accession_number,
        patient_id=plan.patient.patient_id,
        patient_name=plan.patient.name,
        files=tuple(paths[:on_time]),
        late=tuple(paths[on_time:]),
        corrupt=_damaged(paths[0], folder) if plan.corrupt else (),
        other_content=(_other_pixels(paths[0], folder),) if plan.other_content else (),
    )


def _instance(plan: _Plan, series: _Series, source: str, index: int, *, number: int) -> Dataset:
    """The `index`-th instance of a file, as the `number`-th of its study."""
    from pydicom import dcmread

    data_set = dcmread(_source(source))
    data_set.SpecificCharacterSet = "ISO_IR 100"
    data_set.PatientName = plan.patient.name
    data_set.PatientID = plan.patient.patient_id
    data_set.PatientBirthDate = plan.patient.birth_date
    data_set.PatientSex = plan.patient.sex
    data_set.ReferringPhysicianName = plan.patient.referring_physician
    data_set.AccessionNumber = plan.accession_number
    if plan.keeps_uids:
        return data_set
    data_set.StudyInstanceUID = plan.study_instance_uid or _uid(plan.name)
    data_set.StudyDescription = plan.study_description
    data_set.StudyID = plan.accession_number[-4:]
    data_set.StudyDate, data_set.StudyTime = plan.study_date, plan.study_time
    data_set.SeriesInstanceUID = series.series_instance_uid or _uid(plan.name, str(series.number))
    data_set.SeriesNumber, data_set.SeriesDescription = series.number, series.description
    data_set.InstanceNumber = number
    _identify(
        data_set,
        series.sop_instance_uids[index] if series.sop_instance_uids else _uid(plan.name, str(number)),
    )
    if series.frame_of_reference_uid:
        data_set.FrameOfReferenceUID = series.frame_of_reference_uid
    if series.slices > 1:
        _move(data_set, index)
    return data_set


def _identify(data_set: Dataset, sop_instance_uid: str) -> None:
    data_set.SOPInstanceUID = sop_instance_uid
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID


def _move(data_set: Dataset, index: int) -> None:
    """Put the slice `index` thicknesses (mm) further along the patient."""
    distance = float(data_set.SliceThickness) * index
    x, y, z = (float(value) for value in data_set.ImagePositionPatient)
    data_set.ImagePositionPatient = [f"{x:.4f}", f"{y:.4f}", f"{z + distance:.4f}"]
    data_set.SliceLocation = f"{float(data_set.SliceLocation) + distance:.4f}"


def _damaged(sound: Path, folder: Path) -> tuple[Path, ...]:
    """One whose data set ends within the pixels, one without Study Instance UID; each with a SOP UID of its own."""
    from pydicom import dcmread

    truncated, without_study = folder / "truncated.dcm", folder / "without-study.dcm"
    for path in (truncated, without_study):
        data_set = dcmread(sound)
        _identify(data_set, _uid(folder.name, path.stem))
        if path == without_study:
            del data_set.StudyInstanceUID
        data_set.save_as(path, enforce_file_format=True)
    truncated.write_bytes(truncated.read_bytes()[:-200])
    return truncated, without_study


def _other_pixels(sound: Path, folder: Path) -> Path:
    from pydicom import dcmread

    data_set = dcmread(sound)
    data_set.PixelData = data_set.PixelData[::-1]
    path = folder / "same-uid-other-pixels.dcm"
    data_set.save_as(path, enforce_file_format=True)
    return path


def _source(name: str) -> Path:
    import pydicom.data

    return Path(pydicom.data.__file__).parent / "test_files" / name


def _uid(*parts: str) -> str:
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=["fiona sample study", *parts]))
