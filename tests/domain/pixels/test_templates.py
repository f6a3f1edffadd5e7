from __future__ import annotations

import re
from typing import Any

import pytest

from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.pixels.templates import device_templates, fitting, parse_templates, proposed

GOOD: dict[str, Any] = {
    "name": "a", "when": {"Manufacturer": "MAKER.*", "Rows": 600, "Columns": 800}, "mask": [[0, 0, 800, 40]],
}  # fmt: skip
DEVICE = {"Manufacturer": "Maker (X)", "Modality": "US", "Rows": "600", "Columns": "800"}


def test_the_first_template_that_fits_is_taken() -> None:
    other = {**GOOD, "name": "b", "when": {"Rows": 600, "Columns": 800}, "read": False, "regions": False}
    found = parse_templates([GOOD, other], "f")
    assert [one.described() for one in found] == [GOOD, other]
    assert fitting(found, DEVICE) == found[0]
    assert fitting(found, {**DEVICE, "Manufacturer": "Another maker"}) == found[1]
    assert fitting(found, {**DEVICE, "Rows": "6000"}) is None
    assert fitting(found, {}) is None
    assert parse_templates(None, "f") == ()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": "a b"}, "has no name"),
        ({"masks": []}, "'masks' is not known"),
        ({"when": {}}, "has no `when`"),
        ({"when": {**GOOD["when"], "PatientName": "x"}}, "asks for 'PatientName'"),
        ({"when": {**GOOD["when"], "Manufacturer": "("}}, "not a regular expression"),
        ({"when": {**GOOD["when"], "Modality": ["US", "IVUS"]}}, "neither a text nor a number"),
        ({"when": {**GOOD["when"], "Columns": True}}, "neither a text nor a number"),
        ({"when": {**GOOD["when"], "Rows": None}}, "neither a text nor a number"),
        ({"when": {"Rows": 600}}, "Rows and Columns"),
        ({"keep": [[0, 0, 1, 1]]}, "both or none"),
        ({"mask": []}, "both or none"),
        ({"mask": [[0, 0, 0, 1]]}, "no list of"),
        ({"mask": [[0, -1, 1, 1]]}, "no list of"),
        ({"mask": [[0, 0, 1]]}, "no list of"),
        ({"mask": [[0, 0, 1, True]]}, "no list of"),
        ({"read": "perhaps"}, "neither yes nor no"),
        ({"mask": [[0, 600, 10, 10]]}, "outside of the image"),
        ({"mask": [], "keep": [[5000, 0, 10, 10]]}, "outside of the image"),
    ],
)
def test_a_file_that_is_not_understood_completely_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        parse_templates([{**GOOD, **change}], "f")


@pytest.mark.parametrize("content", [{}, "text", [GOOD, GOOD], ["text"]])
def test_and_so_is_one_that_is_no_list_of_different_templates(content: object) -> None:
    with pytest.raises(ConfigurationError):
        parse_templates(content, "f")


def test_a_proposed_template_fits_its_own_device_and_no_other() -> None:
    template = proposed("mine", DEVICE, [(1, 2, 3, 4), (1, 2, 3, 4)])
    assert template.fits(DEVICE)
    assert template.mask == ((1, 2, 3, 4),)
    assert parse_templates([template.described()], "f") == (template,)
    for other in ({"Rows": "601"}, {"Manufacturer": "Maker X"}, {"Modality": "XA"}):
        assert not template.fits({**DEVICE, **other})
    assert proposed("mine", DEVICE, [], [(0, 0, 9, 9)]).keep == ((0, 0, 9, 9),)
    with pytest.raises(ConfigurationError, match="which device"):
        proposed("mine", {"Rows": "600", "Columns": "800"}, [(1, 2, 3, 4)])


def test_devices_whose_places_are_published_have_templates_that_leave_the_rest_to_be_read() -> None:
    ours = device_templates()
    assert len(ours) > 20
    assert all(one.read and one.regions and one.mask for one in ours)
    seen = {"Manufacturer": "ACUSON", "ManufacturerModelName": "SEQUOIA", "Modality": "US", "Rows": "480"}
    fits = fitting(ours, {**seen, "Columns": "640"})
    assert fits is not None
    assert fits.mask == ((0, 0, 640, 30),)
    assert fitting(ours, {**seen, "Columns": "800"}) is None


@pytest.mark.parametrize(
    ("maker", "model", "rows", "height"),
    [
        ("Philips Medical Systems", "iU22", 768, 75),
        ("GE Healthcare", "LOGIQS8", 819, 57),
        ("GE Healthcare", "LOGIQE9", 614, 75),
        ("GE Healthcare", "LOGIQE9", 720, 70),
        ("TOSHIBA_MEC_US", "TUS-A500", 903, 50),
        ("ESAOTE", "6150", 608, 72),
        ("ESAOTE", "6150", 804, 45),
        ("Mindray", "M7", 768, 80),
    ],
)
def test_the_height_of_the_line_is_the_published_one_for_this_size(
    maker: str, model: str, rows: int, height: int
) -> None:
    seen = {"Manufacturer": maker, "ManufacturerModelName": model, "Modality": "US", "Columns": "1024"}
    fits = fitting(device_templates(), {**seen, "Rows": str(rows)})
    assert fits is not None
    assert [one[3] for one in fits.mask] == [height]


def test_every_shipped_template_is_the_first_for_some_object() -> None:
    ours = device_templates()
    simple = str.maketrans("", "", "()")
    for one in ours:
        seen = {
            key: re.sub(r"\[(\d)\d\]", r"\1", pattern.replace(".*", "").replace("\\d+", "777"))
            .translate(simple)
            .split("|")[0]
            for key, pattern in one.when
        }
        assert one.fits(seen), one.name
        assert fitting(ours, seen) == one, one.name
