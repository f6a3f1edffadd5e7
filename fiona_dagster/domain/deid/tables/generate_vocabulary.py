"""Writes `vocabulary.csv` anew: the words that the standard itself uses, beside our own.

    python -m fiona_dagster.domain.deid.tables.generate_vocabulary NAMES.txt ...

Rows with the source `list` are kept as they stand in the file: they are written by hand, and win. Rows with the
source `PS3.6` (attribute and UID names) and `PS3.16` (meanings of coded concepts) come from the dictionaries that
pydicom ships. NAMES.txt hold one given name, family name or place a line (we took the US census of 1990, Faker's
name lists of 14 languages and the Norwegian places of GeoNames): a word of the standard that is also a name is left
out, unless a row of our own takes it up with `also_name`. A word of a coded concept that is never written in small
letters is left out, too: that is how eponyms (Danelius, Hadlock) and trade names look.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pydicom
from pydicom.datadict import DicomDictionary  # type: ignore[attr-defined]
from pydicom.sr._cid_dict import name_for_cid
from pydicom.sr._concepts_dict import concepts
from pydicom.uid import UID_dictionary  # type: ignore[attr-defined]

from fiona_dagster.domain.deid.notation import WORD, fold

TABLE = Path(__file__).with_name("vocabulary.csv")
COLUMNS = ("word", "source", "also_name")
SHORTEST = 3
_OF_PERSONS = re.compile(
    r"Breed|Registry|Equation|Role|Payor|Animal|Species|Strain|Virus|Observer|Framingham|Canadian|Toxin|Cytokine"
    r"|Fibril|Social|Family|Religio|Audit|Country|Language|Ethnic|Person|Physician|Sex|Gender|Pronoun|Table"
)
"""Context groups of PS3.16 whose terms are people, peoples, places or breeds, and equations named after authors."""
_LEFT_OUT = re.compile(
    "african|american|asian|asserter|australian|bazett|belgian|british|caucasian|cuban|hispanic|indian|italic|jamaica"
    "|european|hodgkin|country|religious|ethnic|islander|papyrus|ridgeway|tofts|ukrainian|military|carnoy|saint|wado"
    "|zenker|settegast|swiss|spanish|hirtz|haas|roentgen|helly|bouin|mallory|golgi|giemsa|bertel|arcelin"
)
"""Names among the standard's words that the lists of names do not have."""


def words_of_the_standard(names: frozenset[str]) -> dict[str, str]:
    """Folded words of the standard with their source, without those that are `names` or eponyms."""
    attributes = {
        word
        for texts in (
            (row[2] for row in DicomDictionary.values()),
            (row[0] for row in UID_dictionary.values() if row[1] != "Well-known frame of reference"),
        )
        for text in texts
        for word in WORD.findall(fold(text))
    }
    meanings = _meanings()
    often = Counter(word for text in meanings for word in set(WORD.findall(fold(text))))
    small = {fold(word) for text in meanings for word in WORD.findall(text) if word[0].islower()}
    found = {word: "PS3.16" for word, times in often.items() if times > 1 and word in small}
    found |= dict.fromkeys(attributes, "PS3.6")
    return {word: source for word, source in found.items() if _is_fit(word) and word not in names}


def _coded() -> dict[str, dict[str, dict[str, tuple[str, list[int]]]]]:
    return concepts  # type: ignore[return-value]


def _meanings() -> list[str]:
    groups = {int(cid) for cid, name in name_for_cid.items() if not _OF_PERSONS.search(name)}
    return [
        meaning
        for scheme, keywords in _coded().items()
        if scheme not in {"MDC", "LN", "ITIS_TSN", "BARI"}
        for codes in keywords.values()
        for meaning, cids in codes.values()
        if groups.intersection(cids)
    ]


def _is_fit(word: str) -> bool:
    glued = word.startswith("dicom") and len(word) > len("dicoms")
    return len(word) >= SHORTEST and word.isalpha() and not glued and not _LEFT_OUT.fullmatch(word)


def own_rows(table: Path = TABLE) -> list[dict[str, str]]:
    """Rows of the table that are written by hand."""
    with table.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(line for line in lines if not line.startswith("#"))
        return [row for row in rows if row["source"] == "list"]


def write(names: Iterable[str], table: Path = TABLE) -> int:
    """Write the table, sorted, with its sources in the first line. Returns the number of words."""
    rows = {fold(row["word"]): row for row in own_rows(table)}
    for word, source in words_of_the_standard(frozenset(map(fold, names))).items():
        rows.setdefault(word, {"word": word, "source": source, "also_name": ""})
    with table.open("w", encoding="utf-8", newline="") as out:
        source = f"DICOM PS3.6 and PS3.16 as pydicom {pydicom.__version__} has them"
        out.write(f"# Words that stay in free text. Sources: {source}; our own list\n")
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[word] for word in sorted(rows))
    return len(rows)


if __name__ == "__main__":
    given = (name.strip() for path in sys.argv[1:] for name in Path(path).read_text("utf-8").splitlines())
    print(write(given), "words")
