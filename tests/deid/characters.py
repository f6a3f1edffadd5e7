"""Character sets of PS3.5 annexes H to K, written here and not by the product: escape sequences of PS3.3 C.12.1.1.2."""

from __future__ import annotations

import re
from dataclasses import dataclass

_BY_CHARACTER_SET = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_PIECES = re.compile(r"([\\^=\r\n\t\f]+)")


@dataclass(frozen=True)
class Charset:
    """Specific Character Set `terms`, the Python codec for it, and the escape sequence that announces it.

    With an escape every component is announced anew, as the standard asks for behind delimiters.
    """

    terms: str = ""
    codec: str = "ascii"
    escape: bytes = b""
    sample: str = "Plain^Person"
    word: str = "head"

    def encode(self, text: str, vr: str) -> bytes:
        if vr not in _BY_CHARACTER_SET or text.isascii():
            return text.encode("utf-8")
        if not self.escape and self.codec != "iso2022_jp_2":
            return text.encode(self.codec)
        return b"".join(self._piece(piece) for piece in _PIECES.split(text))

    def _piece(self, piece: str) -> bytes:
        return piece.encode() if piece.isascii() else self.escape + piece.encode(self.codec)


ASCII = Charset()
LATIN = Charset("ISO_IR 100", "latin-1", b"", "Bjørnstjerne-Ødegård^Åslaug^Märta", "hjerneødem")
UTF8 = Charset("ISO_IR 192", "utf-8", b"", "Wang^XiaoDong=王^小東=ワン^シャオトン", "Kopf 頭部 мозг")
CHARSETS = (
    ASCII,
    LATIN,
    UTF8,
    Charset("ISO_IR 101", "iso8859_2", b"", "Wojciechówna^Małgorzata", "płuco"),
    Charset("ISO_IR 109", "iso8859_3", b"", "Ĉapelisto^Ĝustiĝa", "ĉapelo"),
    Charset("ISO_IR 110", "iso8859_4", b"", "Šķēlniece^Žņaugā", "ķermenis"),
    Charset("ISO_IR 144", "iso8859_5", b"", "Люксембурговский^Ярополк", "лёгкие"),
    Charset("ISO_IR 127", "iso8859_6", b"", "النعمانالكبير^لنزار", "دماغ"),
    Charset("ISO_IR 126", "iso8859_7", b"", "Διονυσιάδης^Ξενοφών", "εγκέφαλος"),
    Charset("ISO_IR 138", "iso8859_8", b"", "שרוןבנגוריון^דבורה", "ראש"),
    Charset("ISO_IR 148", "iso8859_9", b"", "Çavuşoğullarından^Gülşöhret", "göğüs"),
    Charset("ISO_IR 166", "tis-620", b"", "นามสกุลยาวมาก^ชื่อ", "ศีรษะ"),
    Charset("ISO_IR 13", "shift_jis", b"", "ﾔﾏﾀﾞﾀﾛｳ^ﾊﾅｺｻﾏ", "ﾉｳ"),
    Charset(
        r"\ISO 2022 IR 87", "iso2022_jp_2", b"", "Yamadabayashi^Tarou=山田林^太郎=やまだばやし^たろう", "頭部"
    ),
    Charset(r"\ISO 2022 IR 149", "euc_kr", b"\x1b$)C", "Honggildong^Gil=洪金朴^吉洞=홍길동님^길동", "머리"),
    Charset(r"\ISO 2022 IR 58", "gb2312", b"\x1b$)A", "Zhangxiaodong^XD=张王李^小东方=", "头部"),
    Charset(r"\ISO 2022 IR 144", "iso8859_5", b"\x1b-L", "Преображенский^Филипп", "сердце"),
    Charset("GB18030", "gb18030", b"", "WangXiaoDong^G=王龘李^小东方=", "头部"),
    Charset("GBK", "gbk", b"", "WangXiaoDong^K=王赵李^小东西=", "脑部"),
)
"""One sample of a name (alphabetic, ideographic, phonetic) and one harmless word in each."""
LYING = (
    Charset("", "utf-8", b"", "Bjørnstjerne^Ingeborg-Ærlig"),
    Charset("ISO_IR 100", "utf-8", b"", "Gåsebakken^Ørnulf-Ågot"),
    Charset("ISO_IR 192", "latin-1", b"", "Kjærstadhaugen^Østein-Må"),
    Charset("ISO_IR 999", "latin-1", b"", "Sønstebøgården^Pål-Ærlend"),
    Charset("ISO_IR 144", "utf-8", b"", "Wojciechówna^Przemysława"),
    Charset(r"ISO 2022 IR 6\ISO 2022 IR 87", "shift_jis", b"", "山田林^太郎君=山田林^太郎君"),
)
"""Character sets that are declared wrongly; what they hold can only be removed."""
