from __future__ import annotations

from dataclasses import replace

import pytest

from fiona_dagster.domain.deid.originals import OriginalValues
from fiona_dagster.domain.deid.walk import walk
from fiona_dagster.domain.pixels.boxes import Box
from fiona_dagster.domain.pixels.policy import PixelPolicy
from fiona_dagster.domain.pixels.texts import TextJudge, is_harmless
from tests.domain.deid.parsing import reread
from tests.domain.deid.planted import ct_instance


def judge(**policy: object) -> TextJudge:
    values = OriginalValues()
    values.gather(walk(reread(ct_instance())))
    return TextJudge(values, PixelPolicy(mode="all", **policy))  # type: ignore[arg-type]


def box(text: str, confidence: float = 0.99) -> Box:
    return Box(0, 0, 0, 0, 10, 10, text, confidence)


@pytest.mark.parametrize(
    "text", ["R", "Gain 42 db", "12.5cm", "Depth: 8,0 cm", "MI 0.9", "FPS 30 fps", "HÅ", "AP"]
)
def test_the_default_lets_words_without_a_person_stay(text: str) -> None:
    assert is_harmless(text, {"hå", "0.9"})


@pytest.mark.parametrize(
    "text",
    ["", "Patient 1234", "4711", "Zwingenberger", "Name: Li An", "19610203", "12:30", "Gain x7y", "12345 cm"],
)
def test_and_masks_everything_else(text: str) -> None:
    assert not is_harmless(text)


@pytest.mark.parametrize(
    "text",
    ["Zwingenberger", "zwlngenberqer", "ZWINGENBERG ER", "OTTOKAR", "0ttokar", "77112233", "7711Z233", "ACC4711777",
     "03.02.1961", "Mr Zwingenbergor, 12.5 cm", "OttokarZw", "Acc77112233-7", "MrZwingenbergorX", "MrZwlngenberg0rX"],
)  # fmt: skip
def test_identifiers_are_known_although_signs_of_them_are_read_wrongly(text: str) -> None:
    for kind in ("all", "identifiers"):
        assert not judge(mask=kind).stays(box(text))
    assert judge().identifies(text)


@pytest.mark.parametrize("text", ["Gain 42 db", "LIVER", "Model 5", "Contrast", "Sequence"])
def test_ordinary_words_identify_nobody(text: str) -> None:
    assert not judge().identifies(text)


def test_what_is_masked_is_a_choice_of_the_project() -> None:
    assert not judge().stays(box("LIVER"))
    assert judge(allowed=frozenset({"liver"})).stays(box("LIVER"))
    assert judge(mask="identifiers").stays(box("LIVER"))
    assert not judge(mask="identifiers").stays(box("born 4.5.1980"))
    assert not judge(mask="identifiers").stays(box("01129955131"))


def test_what_is_so_large_that_other_text_may_stand_between_its_strokes_does_not_stay() -> None:
    assert judge().stays(Box(0, 0, 0, 0, 200, 60, "Gain", 0.99))
    assert not judge().stays(Box(0, 0, 0, 0, 200, 104, "Gain", 0.99))


def test_a_short_identifier_is_known_by_itself() -> None:
    values = OriginalValues()
    values.identifiers.add("1234")
    found = TextJudge(values, PixelPolicy(mode="all"))
    assert found.identifies("1234 M")
    assert not found.identifies("12345 M")


def test_what_was_not_read_for_sure_is_masked_whatever_it_seems_to_say() -> None:
    for kind in ("all", "identifiers"):
        assert judge(mask=kind).stays(box("R"))
        assert not judge(mask=kind).stays(box("R", 0.5))
        assert not judge(mask=kind).stays(replace(box(""), confidence=1.0))


LABEL = Box(0, 9, 100, 50, 120, 24, "Gain 42 dB", 0.98)


@pytest.mark.parametrize(
    "look",
    [
        Box(0, 9, 96, 46, 128, 32, "", 0.8), Box(3, 5, 100, 50, 120, 24, "Gain 42", 0.5),
        Box(0, 9, 98, 48, 130, 30, "GAlN 42dB", 0.95), Box(0, 9, 110, 54, 40, 16, "", 0.3),
    ],
    ids=["larger and not read", "in part, in some frames", "some signs otherwise", "a piece of it"],
)  # fmt: skip
def test_another_look_at_a_text_that_stays_stays_with_it(look: Box) -> None:
    assert judge().to_mask([look, LABEL]) == []
    assert judge().to_mask([look]) == [look], "by itself nothing is known of it"


@pytest.mark.parametrize(
    "look",
    [
        Box(0, 9, 100, 50, 160, 24, "", 0.8), Box(0, 10, 100, 50, 120, 24, "", 0.8),
        Box(0, 9, 120, 56, 30, 10, "", 0.8),
        Box(0, 9, 100, 50, 120, 24, "Hansen", 0.99), Box(0, 9, 100, 50, 120, 24, "Zwingenberger", 0.4),
        Box(0, 9, 400, 50, 120, 24, "", 0.8),
    ],
    ids=["reaches beyond", "in another frame", "much smaller text", "says something else", "a name", "elsewhere"],
)  # fmt: skip
def test_what_is_no_other_look_at_a_text_that_stays_is_masked(look: Box) -> None:
    assert judge().to_mask([LABEL, look]) == [look]


def test_a_line_beside_a_short_label_is_not_taken_for_it() -> None:
    right = Box(0, 0, 10, 10, 24, 24, "R", 0.99)
    other = Box(0, 0, 10, 10, 24, 24, "Å", 0.99)
    assert judge().to_mask([right, other]) == [other]
