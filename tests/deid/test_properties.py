"""Data sets that nobody thought of: a disposition always, an exception never, the planted name in no copy."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiona_dagster.domain.deid.profile import Code, Profile
from fiona_dagster.domain.deid.table import annex_e
from tests.deid import objects, pixels, planting
from tests.deid.answer_key import Level
from tests.deid.examination import examine
from tests.deid.planting import ALL_VRS
from tests.deid.raw import BIG, DEFLATED, EXPLICIT, IMPLICIT, Element, Item, part10
from tests.deid.words import Planting

MARK = "Plantzqmark"
_KEPT_SEQUENCES = (0x52009229, 0x00081140, 0x00082112, 0x00089124, 0x0040A730, 0x00081199, 0x00540016)
_IDENTIFYING = tuple(
    sorted(
        tag
        for tag, row in annex_e().items()
        if tag >> 16 not in {0x0000, 0x0002, 0x0004, 0x0012}
        and tag >> 16 < 0x7FE0
        and not row.keyword.endswith("Sequence")
        and "retain_modified_dates" not in row.options
        and tag not in {0x00080016, 0x00080018, 0x0020000D, 0x0020000E, 0x00080005}
    )
)
_JUNK_VRS = ("XX", "  ", "??", "\0\0", "Ob")

tags = st.one_of(
    st.sampled_from(_IDENTIFYING),
    st.builds(lambda g, e: (g | 1) << 16 | e, st.integers(0x0009, 0x6FFF), st.integers(0, 0xFFFF)),
    st.sampled_from((0x60003000, 0x601E4000, 0x50003000, 0x00880200, 0x0008FFFE, 0x0018FFFF, 0x7F000010)),
)
marked = st.builds(
    lambda codec, before, behind: before + MARK.encode(codec) + behind,
    st.sampled_from(("ascii", "utf-16-le", "utf-16-be")),
    st.binary(max_size=6),
    st.binary(max_size=6),
)
leaves = st.builds(
    Element,
    tags,
    st.sampled_from([vr for vr in ALL_VRS if vr != "SQ"]),
    marked,
    declared=st.sampled_from(["", "", "", "UN", *ALL_VRS]),
    pad=st.sampled_from([None, None, b"\0", b" \0", b"   "]),
)


def _sequence(children: list[list[Element]], tag: int, undefined: list[bool], declared: str) -> Element:
    items = [Item(unique(elements), undefined[1]) for elements in children]
    return Element(tag, "SQ", items, declared=declared, undefined=undefined[0])


def unique(elements: list[Element]) -> list[Element]:
    """The last of each tag: duplicates are broken, and have their own test."""
    return list({element.tag: element for element in elements}.values())


elements = st.recursive(
    leaves,
    lambda inner: st.builds(
        _sequence,
        st.lists(st.lists(inner, max_size=4), max_size=3),
        st.one_of(st.sampled_from(_KEPT_SEQUENCES), tags),
        st.lists(st.booleans(), min_size=2, max_size=2),
        st.sampled_from(["", "", "UN"]),
    ),
    max_leaves=20,
)
syntaxes = st.sampled_from([IMPLICIT, EXPLICIT, BIG, DEFLATED])


def base() -> list[Element]:
    level = Level("base", [])
    planting.identity(level, Planting("9"), sop_class=objects.CT, modality="CT", series=1, number=1)
    pixels.describe(level)
    pixels.native(level)
    return level.elements


def whole(extra: list[Element]) -> list[Element]:
    return unique([*extra, *base()])


@pytest.fixture(autouse=True)
def _quiet() -> None:
    warnings.simplefilter("ignore")


def test_what_the_properties_look_for_is_in_their_originals_and_these_are_released() -> None:
    element = Element(0x00181210, "SH", MARK.encode())
    kept = Profile(overrides=((element.tag, Code.KEEP),))  # here the mark must be found
    for syntax in (IMPLICIT, EXPLICIT, BIG, DEFLATED):
        assert examine(part10(whole([element]), syntax), profile=kept).holds(MARK)
        assert not examine(part10(whole([element]), syntax)).holds(MARK)


@settings(max_examples=150)
@given(st.lists(elements, min_size=1, max_size=12), syntaxes)
def test_no_copy_of_a_valid_file_holds_what_was_planted_anywhere(extra: list[Element], syntax: str) -> None:
    examined = examine(part10(whole(extra), syntax))
    assert examined.disposition in {"released", "failed", "held"}
    assert not examined.holds(MARK)


@settings(max_examples=75)
@given(st.lists(elements, min_size=1, max_size=8), syntaxes)
def test_well_formed_elements_that_identify_never_cost_an_image(extra: list[Element], syntax: str) -> None:
    plain = [e for e in extra if e.vr != "SQ" and not e.declared]
    examined = examine(part10(whole(plain), syntax))
    assert examined.disposition == "released", examined.reason


@settings(max_examples=150)
@given(
    st.lists(elements, min_size=1, max_size=8),
    syntaxes,
    st.integers(0, 7),
    st.one_of(st.integers(-9, 9), st.sampled_from([0, 0xFFFF, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000])),
)
def test_a_wrong_length_anywhere_leaves_nothing_behind(
    extra: list[Element], syntax: str, which: int, length: int
) -> None:
    victim = extra[which % len(extra)]
    if isinstance(victim.value, bytes):
        victim.length = (len(victim.value) + length if -9 <= length <= 9 else length) & 0xFFFFFFFF
    examined = examine(part10(whole(extra), syntax))
    assert not examined.holds(MARK)


@settings(max_examples=100)
@given(st.lists(elements, min_size=1, max_size=8), syntaxes, st.integers(0, 4000))
def test_a_file_that_ends_early_is_failed_or_clean(extra: list[Element], syntax: str, missing: int) -> None:
    content = part10(whole(extra), syntax)
    examined = examine(content[: max(0, len(content) - missing)])
    assert not examined.holds(MARK)


@settings(max_examples=75)
@given(st.lists(leaves, min_size=1, max_size=4), syntaxes, st.sampled_from(_JUNK_VRS))
def test_a_vr_that_does_not_exist_is_no_way_out(extra: list[Element], syntax: str, junk: str) -> None:
    for one in extra:
        one.declared = junk
    assert not examine(part10(whole(extra), syntax)).holds(MARK)


@settings(max_examples=75)
@given(st.lists(leaves, min_size=1, max_size=4), syntaxes, st.booleans())
def test_elements_twice_or_out_of_order_are_no_way_out(
    extra: list[Element], syntax: str, again: bool
) -> None:
    from tests.deid.raw import encode, syntax_of

    behind = b"" if syntax == DEFLATED else encode(extra, syntax_of(syntax), ordered=False)
    content = part10([*whole(extra), *(extra if again else [])], syntax, behind=behind)
    assert not examine(content).holds(MARK)


@settings(max_examples=150)
@given(st.binary(max_size=400), st.booleans())
def test_bytes_that_are_no_dicom_at_all_fail_or_are_held(content: bytes, headed: bool) -> None:
    examined = examine(b"\0" * 128 + b"DICM" + content if headed else content)
    assert examined.disposition in {"failed", "held"}
