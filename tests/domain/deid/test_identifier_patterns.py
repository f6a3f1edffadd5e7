from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiona_dagster.domain.deid import identifier_patterns
from fiona_dagster.domain.deid.identifier_forms import FORMS, NEEDS
from fiona_dagster.domain.deid.identifier_patterns import identifiers_in, is_identity_number

FIRST = (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)
SECOND = (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)


def with_check_digits(nine: str) -> str | None:
    """An identity number that begins with nine digits; None where no check digit fits."""
    digits = [int(c) for c in nine]
    first = -sum(w * d for w, d in zip(FIRST[:9], digits, strict=True)) % 11
    digits.append(first)
    second = -sum(w * d for w, d in zip(SECOND, digits, strict=True)) % 11
    return None if 10 in {first, second} else f"{nine}{first}{second}"


def number(begin: str) -> str:
    return next(n for i in range(900) if (n := with_check_digits(f"{begin}{i:03d}")))


def kinds(text: str) -> set[str]:
    return {span.kind for span in identifiers_in(text)}


def left(text: str) -> str:
    """`text` without what was found."""
    characters = list(text)
    for span in identifiers_in(text):
        characters[span.start : span.end] = "~" * (span.end - span.start)
    return "".join(characters)


@pytest.mark.parametrize(
    ("begin", "what"),
    [
        ("140573", "birth number"),
        ("540573", "D-number"),
        ("144573", "H-number"),
        ("148573", "synthetic"),
        ("890001", "FH-number"),
    ],
)
@pytest.mark.parametrize("form", ["{0}", "{1} {2}", "{1}-{2}", "{1} - {2}", "fnr.{1}/{2}", "x{0}y", "_{0}_"])
def test_norwegian_identity_numbers_are_known_by_their_check_digits(begin: str, what: str, form: str) -> None:
    whole = number(begin)
    text = form.format(whole, whole[:6], whole[6:])
    assert "identity_number" in kinds(text), what
    assert not any(c.isdigit() for c in left(text))


@given(st.integers(0, 9), st.integers(0, 10), st.integers(0, 999))
def test_a_wrong_digit_makes_no_identity_number_but_still_a_long_run(by: int, at: int, serial: int) -> None:
    whole = with_check_digits(f"140573{serial:03d}")
    if whole is None:
        return
    changed = whole[:at] + str((int(whole[at]) + 1 + by % 9) % 10) + whole[at + 1 :]
    assert is_identity_number(whole)
    assert not is_identity_number(changed)
    assert "digits" in kinds(changed)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("201912345678", "duf_number"),
        ("2019 123456 78", "duf_number"),
        ("22 33 44 55", "telephone"),
        ("912 34 567", "telephone"),
        ("91234567", "telephone"),
        ("+47 91 23 45 67", "telephone"),
        ("+4791234567", "telephone"),
        ("(+47) 22334455", "telephone"),
        ("004722334455", "telephone"),
        ("0047 22 33 44 55", "telephone"),
        ("+1 (703) 541-2345", "telephone"),
        ("+44 20 7946 0958", "telephone"),
        ("703-541-2345", "telephone"),
        ("tlf. 02800", "telephone"),
        ("Phone: 541 2345", "telephone"),
        ("ola.nordmann@sykehus.example.no", "e-mail"),
        ("ola(at)example.no", "e-mail"),
        ("ola+mr@localhost", "e-mail"),
        ("https://example.org/p?id=7", "url"),
        ("www.example.no", "url"),
        ("pacs.example.com/study", "url"),
        ("192.168.10.254", "ip_address"),
        ("192.168.10.254:104", "ip_address"),
        ("fe80::1ff:fe23:4567:890a", "ip_address"),
        ("2001:db8:0:0:8:800:200c:417a", "ip_address"),
        ("00:1A:2b:3c:4D:5e", "mac_address"),
        ("1.2.840.113619.2.5.1762583153", "uid"),
        ("20210503", "date"),
        ("20210503101112.5", "date"),
        ("2021-05-03", "date"),
        ("2021-05-03T10:11", "date"),
        ("2021-05-03 10:11:12", "date"),
        ("2021/05/03", "date"),
        ("03.05.2021", "date"),
        ("3.5.2021", "date"),
        ("03.05.21", "date"),
        ("03.05.21 kl. 10.30", "date"),
        ("5/3/2021", "date"),
        ("5/3/21", "date"),
        ("05-03-2021 10:30 pm", "date"),
        ("3. mai 2021", "date"),
        ("3. mai", "date"),
        ("3 mai 21", "date"),
        ("3. des. 2021", "date"),
        ("17. mars kl 12:00", "date"),
        ("3rd of May 2021", "date"),
        ("May 3rd, 2021", "date"),
        ("May 3, 2021", "date"),
        ("Sept. 3, 2021", "date"),
        ("03-MAY-2021", "date"),
        ("03MAY21", "date"),
        ("mai 2021", "date"),
        ("October 2021", "date"),
        ("05/2021", "date"),
        ("2021-05", "date"),
        ("f. 140573", "date"),
        ("DOB 14051973", "date"),
        ("kl. 10.30", "time"),
        ("10:30:15", "time"),
        ("92 år", "age_over_89"),
        ("101-year-old", "age_over_89"),
        ("95åring", "age_over_89"),
        ("095Y", "age_over_89"),
        ("aged 91", "age_over_89"),
        ("Storgata 12B", "postal_address"),
        ("Karl Johans gate 1", "postal_address"),
        ("Nedre Slottsgate 4", "postal_address"),
        ("Jonas Lies vei 65, 5021 Bergen", "postal_address"),
        ("Postboks 1400", "postal_address"),
        ("12 Baker Street", "postal_address"),
        ("N-5021 Bergen", "postal_address"),
        ("1234567", "digits"),
        ("123-456-789", "digits"),
        ("ACC00123456", "accession"),
    ],
)
def test_forms_of_identifiers_are_found_as_a_whole(text: str, kind: str) -> None:
    assert kind in kinds(text)
    for framed in (text, f"MR caput {text} flair", f"thorax;{text}; nativ", f"({text})"):
        rest = left(framed)
        for word in ("MR", "caput", "flair", "thorax", "nativ", "f.", "DOB", "kl.", "tlf.", "Phone:", "aged"):
            rest = rest.replace(word, "")
        assert not any(c.isalnum() for c in rest), framed


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("Dr. Kari Nordmann", "Dr. ~"),
        ("dr Kari Nordmann", "dr ~"),
        ("Overlege Nordmann", "Overlege ~"),
        ("pasient: Ola Nordmann", "pasient: ~"),
        ("Patient: Nordmann, Ola", "Patient: ~"),
        ("Ref. Nordmann", "Ref. ~"),
        ("v/ Kari Nordmann", "v/ ~"),
        ("v/lege Kari Nordmann", "v/lege ~"),
        ("henvist av Ola van der Berg", "henvist av ~"),
        ("Mr. O'Brien-Smith", "Mr. ~"),
        ("Prof. Ø. Åsen", "Prof. ~"),
        ("DR. NORDMANN MR CAPUT", "DR. ~ MR CAPUT"),
    ],
)
def test_a_name_behind_a_title_goes_and_the_title_stays(text: str, rest: str) -> None:
    (span,) = [span for span in identifiers_in(text) if span.kind == "name"]
    assert text[: span.start] + "~" + text[span.end :] == rest


@pytest.mark.parametrize(
    "text",
    [
        "T1 mprage sag 1.0x1.0x1.2 mm",
        "t2_tse_tra_320_p2",
        "MR Head",
        "DR CHEST AP",
        "L5-S1 TE 30 TR 2000 b1000",
        "CT thorax 3/2 B30f",
        "ratio 2:1, 512x512",
        "89 år",
        "ECG gate 30",
        "T2 MAR 20",
        "may enhance after contrast",
        "3D TOF 0.5mm 64 dir",
    ],
)
def test_ordinary_descriptions_have_no_identifiers(text: str) -> None:
    assert identifiers_in(text) == []


def test_a_long_text_without_blanks_is_read_in_time() -> None:
    for text in ("a" * 60_000, "a." * 30_000, "1 " * 30_000, "-".join("ab" * 20_000), "A " * 30_000):
        identifiers_in(text)


_PARTS = (
    "17", "03", "85", "1985", "0012", "12345", "4", " ", "-", ".", "/", ":", ",", "@", "(at)", "'", "’", "+", "(", "_",
    "kl.", "KL", "tlf", "Ring", "fax", "years", "Y", "age", "postboks", "P.O. Box", "nr", "Storgata", "St.", "Oslo",
    "Dr", "MR", "dr.", "lege", "v/", "ref", "Patient's name", "Olsen", "Kari", "mai", "www.", "http://", "no", "aa:bb",
    "N-", "x", "\N{KELVIN SIGN}l",
)  # fmt: skip


@given(st.lists(st.sampled_from(_PARTS), max_size=8).map("".join))
def test_what_every_form_needs_stands_wherever_one_is_found(text: str) -> None:
    for kind in FORMS:
        found = [m for pattern in identifier_patterns._patterns(kind) for m in pattern.finditer(text)]
        if kind in NEEDS:
            assert [m.span() for m in identifier_patterns._matches(kind, text)] == [m.span() for m in found]
