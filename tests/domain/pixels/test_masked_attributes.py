"""What a copy says of itself once its pixels were searched and masked."""

from __future__ import annotations

import io

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from fiona_dagster.domain.deid.encoding import EXPLICIT_LITTLE
from fiona_dagster.domain.pixels.frames import ImagePixel
from fiona_dagster.domain.pixels.masked_attributes import Reencoded, follow
from fiona_dagster.domain.pixels.masks import Mask, Masking

BASELINE, LOSSLESS, LS, J2K = (f"1.2.840.10008.1.2.4.{number}" for number in (50, 70, 81, 91))
MASKED = Masking("x", ("reading",), (Mask(0, 0, 0, 0, 3, 3),))


def image(syntax: str) -> ImagePixel:
    return ImagePixel(syntax, "PixelData", 8, 8, 1, 3, "YBR_FULL_422", 0, 8, 8, 7, 0)


def told(masking: Masking, syntax: str, new: Reencoded | None, **said: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in {
        "ImageType": ["ORIGINAL", "PRIMARY", "0001"], "PhotometricInterpretation": "YBR_FULL_422",
        "PlanarConfiguration": 1, "LargestImagePixelValue": 255, "BurnedInAnnotation": "YES", **said,
    }.items():  # fmt: skip
        setattr(dataset, keyword, value)
    stream = io.BytesIO()
    dataset.save_as(stream, implicit_vr=False, little_endian=True)
    made = follow(stream.getvalue(), EXPLICIT_LITTLE, masking, image(syntax), new)
    found = dcmread(io.BytesIO(made), force=True)
    found.file_meta = None  # type: ignore[assignment]
    return found


@pytest.mark.parametrize(
    ("syntax", "method"), [(BASELINE, "ISO_10918_1"), (LS, "ISO_14495_1"), (J2K, "ISO_15444_1")]
)
def test_what_was_lossy_stays_lossy_when_it_is_written_without_compression(syntax: str, method: str) -> None:
    copy = told(MASKED, syntax, Reencoded("YBR_FULL", 12.3456))
    assert copy.LossyImageCompression == "01"
    assert (str(copy.LossyImageCompressionRatio), copy.LossyImageCompressionMethod) == ("12.35", method)
    assert (copy.PhotometricInterpretation, copy.PlanarConfiguration) == ("YBR_FULL", 0)
    assert (list(copy.ImageType), copy.BurnedInAnnotation) == (["DERIVED", "PRIMARY", "0001"], "NO")
    assert "LargestImagePixelValue" not in copy


def test_a_ratio_that_the_object_knows_is_not_ours_to_change() -> None:
    known = {"LossyImageCompressionRatio": "30", "LossyImageCompressionMethod": "ISO_10918_1"}
    copy = told(MASKED, BASELINE, Reencoded("RGB", 12.0), LossyImageCompression="01", **known)
    assert (str(copy.LossyImageCompressionRatio), copy.LossyImageCompressionMethod) == ("30", "ISO_10918_1")


def test_what_lost_nothing_claims_no_loss_and_native_pixels_keep_their_colour_space() -> None:
    copy = told(MASKED, LOSSLESS, Reencoded("RGB", 2.0))
    assert "LossyImageCompression" not in copy
    native = told(MASKED, "1.2.840.10008.1.2.1", None)
    assert (native.PhotometricInterpretation, native.PlanarConfiguration) == ("YBR_FULL_422", 1)
    assert native.DerivationDescription == "Burned-in text masked"


def test_what_was_only_read_says_no_and_nothing_else_changes() -> None:
    copy = told(Masking("x", ("reading",)), BASELINE, None)
    assert (copy.BurnedInAnnotation, copy.ImageType[0], copy.LargestImagePixelValue) == (
        "NO",
        "ORIGINAL",
        255,
    )
    assert "DerivationDescription" not in copy
    unread = told(Masking("x", overlay_bits=0x8000), BASELINE, None)
    assert (unread.BurnedInAnnotation, unread.ImageType[0]) == ("YES", "DERIVED")
