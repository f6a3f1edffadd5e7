from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiona_dagster.domain.deid.dictionary import is_registered
from fiona_dagster.domain.deid.uids import UidMapper, is_acceptable_uid, uid_map
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.identifiers import is_valid_uid
from fiona_dagster.domain.project import Project

KEY = b"k" * 32


@given(
    st.text(alphabet="0123456789.", min_size=1, max_size=64).filter(lambda uid: not is_registered(uid)),
    st.sampled_from(["2.25", "1.2.826.0.1.3680043.10"]),
)
def test_every_new_uid_is_valid_and_stable(uid: str, root: str) -> None:
    new = UidMapper(KEY, root)(uid)
    assert is_valid_uid(new)
    assert new.startswith(root + ".")
    assert new == UidMapper(KEY, root)(uid + "\0")


def test_the_formula_is_the_documented_one() -> None:
    digest = hmac.new(KEY, b"uid\x1f1.2.3", hashlib.sha256).digest()
    assert UidMapper(KEY)("1.2.3") == f"2.25.{int.from_bytes(digest[:16], 'big')}"


def test_registered_uids_stay_and_borrowed_roots_do_not() -> None:
    mapper = UidMapper(KEY)
    assert mapper("1.2.840.10008.5.1.4.1.1.2") == "1.2.840.10008.5.1.4.1.1.2"
    assert mapper("1.2.840.10008.99.123456") != "1.2.840.10008.99.123456"
    assert mapper("") == ""


def test_another_key_gives_other_uids() -> None:
    assert UidMapper(KEY)("1.2.3") != UidMapper(b"x" * 32)("1.2.3")


@pytest.mark.parametrize("root", ["", "2", "2.025", "2.25.", "a.b", "1.2.840.113619.6.95.31.0.3"])
def test_a_root_that_cannot_carry_128_bit_is_refused(root: str) -> None:
    with pytest.raises(ConfigurationError):
        UidMapper(KEY, root)


TEST = Project(name="TEST", uid_scheme="fiona")


@pytest.mark.parametrize(
    ("tag", "made"),
    [
        (0x0020000D, "1.3.6.1.4.1.45037.012326804111308714049145909837257751171684254"),
        (0x0020000E, "1.3.6.1.4.1.45037.251101337522213545711445529375866451207120280"),
    ],
)
def test_the_scheme_of_fiona_pads_all_but_the_study_instance_uid(tag: int, made: str) -> None:
    assert uid_map(TEST, KEY)("1.2.3", tag) == made
    assert len(made) == 63


def test_the_scheme_of_fiona_needs_no_key_but_the_project() -> None:
    assert uid_map(TEST, KEY)("1.2.3", 0x00080018) == uid_map(TEST, b"x" * 32)("1.2.3\0", 0x00081155)
    other = Project(name="OTHER", uid_scheme="fiona")
    assert uid_map(TEST, KEY)("1.2.3", 0x00080018) != uid_map(other, KEY)("1.2.3", 0x00080018)


def test_fionas_old_scheme_is_the_new_one_with_letters() -> None:
    old = uid_map(Project(name="TEST", uid_scheme="fiona_hex"), KEY)("1.2.3", 0x0020000D)
    new = uid_map(TEST, KEY)("1.2.3", 0x0020000D)
    assert old != new
    assert old.translate(str.maketrans("abcdef", "012345")) == new


def test_registered_uids_stay_in_every_scheme() -> None:
    for scheme in ("keyed", "fiona", "fiona_hex"):
        made = uid_map(Project(name="TEST", uid_scheme=scheme), KEY)
        assert made("1.2.840.10008.5.1.4.1.1.2", 0x00081150) == "1.2.840.10008.5.1.4.1.1.2"
        assert made("", 0x00081150) == ""


def test_the_keyed_scheme_does_not_ask_for_the_attribute() -> None:
    made = uid_map(Project(name="TEST", uid_root="1.2.826.0.1.3680043.10"), KEY)
    assert (
        made("1.2.3", 0x0020000D)
        == made("1.2.3", 0x00080018)
        == UidMapper(KEY, "1.2.826.0.1.3680043.10")("1.2.3")
    )


def test_a_copy_may_have_what_its_projects_scheme_makes() -> None:
    leading_zero = "1.3.6.1.4.1.45037.012326804111308714049145909837257751171684254"
    assert is_acceptable_uid(leading_zero, TEST)
    assert not is_acceptable_uid(leading_zero, Project(name="TEST"))
    assert not is_acceptable_uid(leading_zero + "1", TEST)
    assert not is_acceptable_uid("1.3.6.1.4.1.45037.012", TEST)
    assert is_acceptable_uid("1.2.3", Project(name="TEST"))
    assert (
        is_acceptable_uid(leading_zero.replace("6", "f"), Project(name="TEST", uid_scheme="fiona_hex"))
        is False
    )
    assert is_acceptable_uid(leading_zero[:-1] + "f", Project(name="TEST", uid_scheme="fiona_hex"))
