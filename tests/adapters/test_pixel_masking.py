"""Suspected series on their way into a release. The reader is played: what it finds is its own tests' business."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID, JPEGLSLossless, RLELossless

from fiona_dagster.adapters import pixel_gate, pixel_masking
from fiona_dagster.adapters.pixel_frames import describe
from fiona_dagster.adapters.pixel_review import CONFIRMED, decide, previews
from fiona_dagster.adapters.pixel_templates import add_template, as_yaml, load_templates
from fiona_dagster.adapters.releases import deidentify_study, verify_release
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.deidentification import DeidentifiedStudy, ReleaseRequest, SourceInstance
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.pixels.boxes import Box, FramesText
from fiona_dagster.domain.pixels.masks import Mask, Masking, masked_images
from fiona_dagster.domain.pixels.policy import Exclusion, PixelPolicy
from fiona_dagster.domain.pixels.templates import Template, proposed
from fiona_dagster.domain.verification import QuarantinedStudy, VerifiedStudy
from tests.domain.deid.planted import KEY, ct_instance, request, saved

MASKS = PixelPolicy(mode="all", reviewed_percent=100)
NAME = Box(0, 0, 4, 6, 12, 5, "Zwingenberger", 0.99)
US = UID("1.2.840.10008.5.1.4.1.1.6.1")


def image(number: int = 1, *, suspected: bool = True) -> FileDataset:
    dataset = ct_instance(number)
    dataset.Rows = dataset.Columns = 32
    dataset.PixelData = (np.arange(1, 1025, dtype="u2") % 4000).tobytes()
    if suspected:
        dataset.BurnedInAnnotation = "YES"
    return dataset


def ultrasound() -> FileDataset:
    dataset = image()
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = US
    dataset.Modality = "US"
    region = Dataset()
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 8, 4
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 31, 27
    dataset.SequenceOfUltrasoundRegions = [region]
    return dataset


def sources(folder: Path, *datasets: FileDataset, classified: str = "") -> list[SourceInstance]:
    return [
        SourceInstance(saved(one, folder / f"{n}.dcm"), n, str(one.SOPInstanceUID), classified=classified)
        for n, one in enumerate(datasets, 1)
    ]


Play = Callable[..., None]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """Have the reader find boxes, in originals and, unless told otherwise, nothing in copies."""

    def played(*found: Box, behind: Iterable[Box] = ()) -> None:
        def reader(boxes: tuple[Box, ...]) -> Callable[[Path], FramesText]:
            def read(path: Path) -> FramesText:
                said = describe(path)
                frames = tuple(range(said.number_of_frames))
                return FramesText(said.rows, said.columns, len(frames), frames, boxes)

            return read

        monkeypatch.setattr(pixel_masking, "read_text", reader(found))
        monkeypatch.setattr(pixel_gate, "read_text", reader(tuple(behind)))

    played(NAME)
    return played


def made(
    given: list[SourceInstance], folder: Path, policy: PixelPolicy = MASKS, **more: object
) -> tuple[ReleaseRequest, DeidentifiedStudy]:
    asked = request(folder / "out", pixels=policy, **more)
    return asked, deidentify_study(given, asked, KEY, Profile(), review=folder / "review")


@pytest.mark.usefixtures("play")
def test_a_suspected_image_is_masked_verified_and_told_of(tmp_path: Path) -> None:
    given = sources(tmp_path / "in", image())
    asked, study = made(given, tmp_path)
    (one,) = study.instances
    assert one.disposition == "released", one.reason
    assert one.masking is not None
    assert one.masking.boxes == (Mask(0, 0, 2, 4, 16, 9),)  # two pixels more on each side
    assert "BurnedInAnnotation is YES" in one.masking.reason
    assert "Zwingen" not in one.masking.to_json()
    assert Masking.from_json(one.masking.to_json()) == one.masking
    outcome = verify_release(study, given, asked, KEY, Profile())
    assert isinstance(outcome, VerifiedStudy), outcome.checks
    copy, original = dcmread(asked.folder / one.path), dcmread(given[0].path)
    expected = original.pixel_array.copy()
    expected[4:13, 2:18] = 0
    assert (copy.pixel_array == expected).all()
    codes = {item.CodeValue for item in copy.DeidentificationMethodCodeSequence}
    assert "113101" in codes
    assert deidentify_study(given, asked, KEY, Profile()) == study


def test_what_stands_above_the_stored_bits_goes(tmp_path: Path, play: Play) -> None:
    play()
    hidden = image()
    hidden.BitsStored, hidden.HighBit = 12, 11
    values = np.arange(1, 1025, dtype="u2") % 4000
    values[40:60] |= 0x2000
    hidden.PixelData = values.tobytes()
    given = sources(tmp_path / "in", hidden)
    asked, study = made(given, tmp_path)
    (one,) = study.instances
    assert one.masking is not None
    assert (one.masking.boxes, one.masking.overlay_bits) == ((), 0xF000)
    copy = dcmread(asked.folder / one.path)
    assert (np.frombuffer(copy.PixelData, "u2") == values & 0x0FFF).all()
    outcome = verify_release(study, given, asked, KEY, Profile())
    assert isinstance(outcome, VerifiedStudy), outcome.checks


def test_the_gate_sees_what_was_left_above_the_stored_bits(
    tmp_path: Path, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    play()
    monkeypatch.setattr(pixel_masking, "uses_unused_bits", lambda *_, **__: False)
    hidden = image()
    hidden.BitsStored, hidden.HighBit = 12, 11
    hidden.PixelData = np.full(1024, 0x2001, "u2").tobytes()
    given = sources(tmp_path / "in", hidden)
    asked, study = made(given, tmp_path)
    outcome = verify_release(study, given, asked, KEY, Profile())
    assert isinstance(outcome, QuarantinedStudy)
    places = [place for check in outcome.checks for place in check.places]
    assert "PixelData has something in bits that are not stored" in places


BREAKS_DOWN = """
import os, signal
class Version:
    GetVersion = staticmethod(lambda: "3.0.24")
class Any:
    def __getattr__(self, name): return self
    def __call__(self, *_): os.kill(os.getpid(), signal.SIGSEGV)
def __getattr__(name): return Any()
"""
"""Stands in for GDCM, which pydicom has decode JPEG-LS."""


@pytest.mark.usefixtures("play")
def test_an_image_whose_decoder_breaks_down_is_held_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [image(n) for n in range(1, 5)]
    for one, syntax in zip(images, [RLELossless, JPEGLSLossless, RLELossless], strict=False):
        one.compress(syntax, generate_instance_uid=False)
    (tmp_path / "decoders").mkdir()
    (tmp_path / "decoders" / "gdcm.py").write_text(BREAKS_DOWN)
    monkeypatch.syspath_prepend(str(tmp_path / "decoders"))  # workers look there first, too
    given = sources(tmp_path / "in", *images)
    told: list[tuple[int, int]] = []
    asked = request(tmp_path / "out", pixels=MASKS)
    study = deidentify_study(given, asked, KEY, Profile(), reading=lambda done, of: told.append((done, of)))
    assert sorted(told) == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [one.disposition for one in study.instances] == ["released", "held", "released", "released"]
    assert study.instances[1].reason.endswith("the program that decodes them breaks down or does not end")
    outcome = verify_release(study, given, asked, KEY, Profile())
    assert isinstance(outcome, VerifiedStudy), outcome.checks


def test_what_the_gate_still_reads_of_the_patient_holds_the_study(tmp_path: Path, play: Play) -> None:
    for text in ("ZWINGENBERGER", "Zw1ngenberqer", "77112233", "7711Z233"):
        play(NAME, behind=[replace(NAME, text=text)])
        given = sources(tmp_path / "in", image())
        asked, study = made(given, tmp_path)
        outcome = verify_release(study, given, asked, KEY, Profile())
        assert isinstance(outcome, QuarantinedStudy), text
        failed = [check for check in outcome.checks if not check.passed]
        assert [(check.name, check.places) for check in failed] == [
            ("no_removed_value_left", ("PixelData shows an original value",))
        ]


@pytest.mark.usefixtures("play")
def test_a_mask_that_is_not_written_down_is_a_changed_pixel(tmp_path: Path) -> None:
    given = sources(tmp_path / "in", image())
    asked, study = made(given, tmp_path)
    (one,) = study.instances
    for forgotten in (None, Masking("x"), Masking("x", boxes=(Mask(0, 0, 2, 4, 15, 9),))):
        other = replace(study, instances=(replace(one, masking=forgotten),))
        outcome = verify_release(other, given, asked, KEY, Profile())
        assert isinstance(outcome, QuarantinedStudy)
        assert "pixels_unchanged" in outcome.reason


@pytest.mark.usefixtures("play")
def test_a_series_is_read_as_a_whole_and_other_series_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = image(3, suspected=False)
    other.SeriesInstanceUID = "1.2.826.0.1.3680043.99.1.7"
    _, study = made(sources(tmp_path / "in", image(1), image(2, suspected=False), other), tmp_path)
    assert [one.masking is not None for one in study.instances] == [True, True, False]
    monkeypatch.setattr(pixel_masking, "mask_part", None)  # an ordinary study does not come here
    _, study = made(sources(tmp_path / "plain", image(1, suspected=False)), tmp_path / "plain")
    assert study.counts()["released"] == 1


@pytest.mark.usefixtures("play")
def test_a_scout_is_read_and_the_slices_beside_it_are_not(tmp_path: Path) -> None:
    scout = image(1, suspected=False)
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    _, study = made(sources(tmp_path / "in", scout, image(2, suspected=False)), tmp_path)
    assert [one.masking is not None for one in study.instances] == [True, False]


def test_one_image_that_cannot_be_masked_is_held_and_costs_no_other(tmp_path: Path, play: Play) -> None:
    broken = image(2)
    broken.PixelData = broken.PixelData[:-100]
    play(NAME)
    _, study = made(sources(tmp_path / "in", image(1), broken, image(3)), tmp_path)
    assert [one.disposition for one in study.instances] == ["released", "held", "released"]
    assert study.instances[1].reason
    assert study.instances[1].path == ""
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 2


def test_a_decoder_that_fails_in_its_own_way_holds_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Path) -> FramesText:
        raise ValueError("Zwingenberger")

    monkeypatch.setattr(pixel_masking, "read_text", broken)
    _, study = made(sources(tmp_path / "in", image()), tmp_path)
    assert (study.instances[0].disposition, study.instances[0].reason) == (
        "held", "pixels may carry text and cannot be masked: ValueError",
    )  # fmt: skip


@pytest.mark.usefixtures("play")
def test_projects_decide_which_objects_are_masked_and_the_others_are_held(tmp_path: Path) -> None:
    for mode, expected in (("secondary_and_ultrasound", "held"), ("hold", "held"), ("off", "held")):
        policy = replace(MASKS, mode=mode)  # type: ignore[arg-type]
        _, study = made(sources(tmp_path / mode, image()), tmp_path / mode, policy)
        assert study.instances[0].disposition == expected
    _, study = made(
        sources(tmp_path / "us", ultrasound()),
        tmp_path / "us",
        replace(MASKS, mode="secondary_and_ultrasound"),
    )
    assert study.instances[0].disposition == "released"


def test_excluded_images_keep_their_pixels_and_classified_ones_are_read(tmp_path: Path, play: Play) -> None:
    excluded = replace(MASKS, exclusions=(Exclusion(0x00204000, "PLANTED"),))
    _, study = made(sources(tmp_path / "a", image()), tmp_path / "a", excluded)
    (one,) = study.instances
    assert one.masking is not None
    assert (one.disposition, one.masking.excluded_by) == ("released", "ImageComments")
    assert (one.masking.was_searched, one.masking.changes_pixels) == (False, False)
    play()
    plain = sources(tmp_path / "b", image(suspected=False), classified="classified as CHECKBURNEDINFO")
    asked, study = made(plain, tmp_path / "b")
    assert study.instances[0].masking == Masking("classified as CHECKBURNEDINFO", ("reading",))
    assert dcmread(asked.folder / study.instances[0].path).BurnedInAnnotation == "NO"
    assert isinstance(verify_release(study, plain, asked, KEY, Profile()), VerifiedStudy)


@pytest.mark.usefixtures("play")
def test_an_excluded_image_keeps_its_pixels_beside_others_of_its_series(tmp_path: Path) -> None:
    other, overlaid = image(2), image(3)
    other.ImageComments = "not so"
    overlaid.PixelData = (np.arange(1024, dtype="u2") | 0x4000).tobytes()
    del overlaid[0x60003000]
    overlaid.add_new(0x60000100, "US", 16)
    overlaid.add_new(0x60000102, "US", 14)
    excluded = replace(MASKS, exclusions=(Exclusion(0x00204000, "PLANTED"),))
    given = sources(tmp_path / "in", image(1), other, overlaid)
    asked, study = made(given, tmp_path, excluded)
    assert [one.disposition for one in study.instances] == ["released"] * 3
    first, second, third = (one.masking for one in study.instances)
    assert first is not None
    assert (first.excluded_by, first.was_searched) == ("ImageComments", False)
    assert second is not None
    assert second.boxes
    assert not second.excluded_by
    assert third is not None
    assert (third.excluded_by, third.was_searched) == ("ImageComments", True)
    assert masked_images(one.masking for one in study.instances)["excluded_images"] == 2
    assert (third.boxes, third.overlay_bits) == ((), 0x4000)
    copies = [dcmread(asked.folder / one.path) for one in study.instances]
    assert copies[0].PixelData == image(1).PixelData
    assert copies[2].PixelData == np.arange(1024, dtype="u2").tobytes()
    assert copies[2].BurnedInAnnotation == "YES"  # nobody has looked
    claims = [
        "113101" in {item.CodeValue for item in one.DeidentificationMethodCodeSequence} for one in copies
    ]
    assert claims == [False, True, False]
    assert isinstance(verify_release(study, given, asked, KEY, Profile()), VerifiedStudy)


def test_ultrasound_keeps_its_regions_and_a_template_adds_to_them(tmp_path: Path, play: Play) -> None:
    play()
    given = sources(tmp_path / "in", ultrasound())
    asked, study = made(given, tmp_path)
    copy = dcmread(asked.folder / study.instances[0].path).pixel_array
    kept = np.zeros((32, 32), dtype=bool)
    kept[4:28, 8:32] = True
    original = dcmread(given[0].path).pixel_array
    assert (copy[kept] == original[kept]).all()
    assert not copy[~kept].any()
    template = Template("t", (("Rows", "32"), ("Columns", "32")), mask=((10, 10, 4, 4),), read=False)
    asked, study = made(given, tmp_path, replace(MASKS, templates=(template,)))
    assert study.instances[0].masking is not None
    assert study.instances[0].masking.sources == ("ultrasound regions", "template t")
    kept[10:14, 10:14] = False
    copy = dcmread(asked.folder / study.instances[0].path).pixel_array
    assert (copy[kept] == original[kept]).all()
    assert not copy[~kept].any()
    assert isinstance(verify_release(study, given, asked, KEY, Profile()), VerifiedStudy)


@pytest.mark.usefixtures("play")
def test_a_person_sees_both_sides_and_what_was_decided_stays_until_the_boxes_change(
    tmp_path: Path, play: Play
) -> None:
    from PIL import Image

    given = sources(tmp_path / "in", image())
    made(given, tmp_path)
    (one,) = previews(tmp_path / "review")
    with Image.open(tmp_path / "review" / f"{one.name}.png") as sheet:
        assert sheet.size == (2 * 32 + 8, 32)
        pixels = np.asarray(sheet.convert("L"))
    assert pixels[8, 10] > 0
    assert pixels[8, 40 + 10] == 0
    record = (tmp_path / "review" / f"{one.name}.json").read_text()
    assert "Zwingen" not in record
    assert "77112233" not in record
    decide(tmp_path / "review", one.name, CONFIRMED, by="anna")
    made(given, tmp_path)
    assert [(p.state, p.by) for p in previews(tmp_path / "review")] == [(CONFIRMED, "anna")]
    play(replace(NAME, left=9))
    made(given, tmp_path)
    assert [p.state for p in previews(tmp_path / "review")] == ["waiting"]
    with pytest.raises(ConfigurationError, match="no preview"):
        decide(tmp_path / "review", "1.2.3", CONFIRMED, by="anna")


def test_what_was_read_and_left_as_it_is_is_sampled_too(tmp_path: Path, play: Play) -> None:
    play()
    given = sources(tmp_path / "in", image())
    made(given, tmp_path)
    assert [one.boxes for one in previews(tmp_path / "review")] == [()]
    made(given, tmp_path, replace(MASKS, exclusions=(Exclusion(0x00204000, "PLANTED"),)))
    assert previews(tmp_path / "review") == [], "it would show a copy that is not there any more"
    assert list((tmp_path / "review").iterdir()) == []
    (tmp_path / "review" / "1.2.3.json").write_text("{")
    _, study = made(given, tmp_path)
    (tmp_path / "review" / f"{study.instances[0].sop_instance_uid}.json").write_text("{")
    made(given, tmp_path)
    assert [one.boxes for one in previews(tmp_path / "review")] == [()], "one that cannot be read goes"
    made(given, tmp_path / "none", replace(MASKS, reviewed_percent=0))
    assert previews(tmp_path / "none" / "review") == []


@pytest.mark.usefixtures("play")
def test_no_frame_of_a_masked_copy_says_that_it_is_original(tmp_path: Path) -> None:
    enhanced, frame, kind = image(), Dataset(), Dataset()
    kind.FrameType, kind.PixelPresentation = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "MONOCHROME"
    other = Dataset()
    other.FrameType = ["DERIVED", "PRIMARY", "VOLUME", "MAXIMUM"]
    frame.CTImageFrameTypeSequence = [kind]
    shared = Dataset()
    shared.CTImageFrameTypeSequence = [other]
    enhanced.SharedFunctionalGroupsSequence = [shared]
    enhanced.PerFrameFunctionalGroupsSequence = [frame]
    enhanced.SOPClassUID = enhanced.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.2.1")
    given = sources(tmp_path / "in", enhanced)
    asked, study = made(given, tmp_path)
    assert study.instances[0].disposition == "released", study.instances[0].reason
    copy = dcmread(asked.folder / study.instances[0].path)
    of_frame = copy.PerFrameFunctionalGroupsSequence[0].CTImageFrameTypeSequence[0]
    assert list(of_frame.FrameType) == ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    assert of_frame.PixelPresentation == "MONOCHROME"
    of_all = copy.SharedFunctionalGroupsSequence[0].CTImageFrameTypeSequence[0]
    assert list(of_all.FrameType) == ["DERIVED", "PRIMARY", "VOLUME", "MAXIMUM"]
    assert isinstance(verify_release(study, given, asked, KEY, Profile()), VerifiedStudy)


@pytest.mark.usefixtures("play")
def test_a_sheet_shows_the_colours_of_a_palette(tmp_path: Path) -> None:
    from PIL import Image

    coloured = image()
    coloured.PhotometricInterpretation = "PALETTE COLOR"
    coloured.PixelData = np.full(1024, 7, "u2").tobytes()
    for name, table in (("Red", 0), ("Green", 200), ("Blue", 0)):
        setattr(coloured, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        values = np.full(256, table * 257, "<u2")
        setattr(coloured, f"{name}PaletteColorLookupTableData", values.tobytes())
    _, study = made(sources(tmp_path / "in", coloured), tmp_path)
    with Image.open(tmp_path / "review" / f"{study.instances[0].sop_instance_uid}.png") as sheet:
        assert sheet.getpixel((10, 8)) == (0, 200, 0)


@pytest.mark.usefixtures("play")
def test_a_correction_becomes_a_template_that_fits_the_next_image(tmp_path: Path) -> None:
    given = sources(tmp_path / "in", image())
    made(given, tmp_path)
    (one,) = previews(tmp_path / "review")
    template = proposed("maker-5", one.device, [*one.boxes, (20, 20, 5, 5)])
    file = tmp_path / "pixel-templates.yaml"
    add_template(file, template)
    add_template(file, replace(template, name="maker-5b"))
    assert [known.name for known in load_templates(file)] == ["maker-5b", "maker-5"]
    assert as_yaml(template) in file.read_text()
    with pytest.raises(ConfigurationError, match="has a template maker-5"):
        add_template(file, template)
    _, study = made(given, tmp_path, replace(MASKS, templates=load_templates(file)))
    assert study.instances[0].masking is not None
    assert Mask(0, 0, 20, 20, 5, 5) in study.instances[0].masking.boxes
    assert json.loads(study.instances[0].masking.to_json())["sources"] == ["template maker-5b", "reading"]


def test_a_file_of_templates_that_cannot_be_understood_says_where(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    assert load_templates(file) == ()
    file.write_text("- name: a\n  when: {Rows: [\n")
    with pytest.raises(ConfigurationError, match=r"t.yaml:3.*is not YAML"):
        load_templates(file)
    file.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        load_templates(file)
