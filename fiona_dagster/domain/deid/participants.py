"""A participant is a pseudonym: what it may not be by its form, and what it may not be for a study's own patient."""

from __future__ import annotations

from fiona_dagster.domain.deid.identifier_patterns import identifiers_in
from fiona_dagster.domain.deid.names import SHORTEST_NAME, full_names, name_words
from fiona_dagster.domain.deid.notation import WORD, compact, dates_in, fold, significant, spellings

_NUMBERS = frozenset({0x00100020, 0x00101000})
"""PatientID, OtherPatientIDs."""
_NAMES = frozenset({0x00100010, 0x00101001, 0x00101005})
"""PatientName, OtherPatientNames, PatientBirthName."""
_SHORTEST_INSIDE = 6
"""Letters and digits of a name or number that is found inside of a participant, too."""
_FORMS = {"identity_number": "a Norwegian identity number", "e-mail": "an e-mail address"}
_REMEDY = "give one that says nothing of the person"


def form_problem(text: str, what: str = "participant") -> str | None:
    """Why a participant (or what else copies are given) identifies by its form, whoever it is, or None.

    Identity numbers, e-mail addresses, dates; all but an event may hold a date beside other signs: many numberings do.
    """
    folded = fold(text)
    spans = identifiers_in(folded)
    for span in spans:
        if span.kind in _FORMS:
            return f"the {what} holds {_FORMS[span.kind]}: {_REMEDY}"
    dates = [one for one in spans if one.kind == "date"]
    if what != "event":
        dates = [one for one in dates if (one.start, one.end) == (0, len(folded))]
    return f"the {what} is a date: {_REMEDY}" if dates and dates_in(folded) else None


def patient_terms(tag: int, text: str) -> set[str]:
    """What an attribute of an original calls its patient: folded, letters and digits only; of other attributes nothing.

    Of a name all words count, and the whole of it in any order; a name with digits is a code and counts as a whole.
    """
    if tag not in _NUMBERS | _NAMES:
        return set()
    whole = {compact(one) for one in spellings(text)} - {""}
    if tag in _NUMBERS or any(c.isdigit() for c in text):
        return whole
    return whole | name_words(text) | {"".join(words) for words in full_names(text)}


def names_patient(participant: str, terms: set[str], common: frozenset[str]) -> bool:
    """Whether a participant is one of the patient's `terms`, separators aside, or holds one that tells by itself.

    `common` are words that stand in many participants: they count only where the participant is nothing else.
    """
    telling = {t for t in terms if len(significant(t)) >= _SHORTEST_INSIDE} - common
    for spelling in spellings(participant):
        joined = compact(spelling)
        letters = "".join(WORD.findall(spelling))
        if joined in terms or any(term in joined for term in telling):
            return True
        if len(letters) >= SHORTEST_NAME and letters in terms - common:
            return True
    return False
