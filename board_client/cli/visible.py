r"""Untrusted text, with every character that has no glyph as an escape.

Names, paths and signatures are any text. Control characters could break lines and
control the terminal. Characters that change the direction of writing show code in
another order. Invisible characters hide text from a person that a language model
reads. Terminals differ in how they show noncharacters and unassigned code points.
Each of these is shown as Python escapes it, such as \n or \u202e.
"""

import re
import unicodedata

_WITHOUT_GLYPH = frozenset({"Cc", "Cf", "Cn", "Cs", "Co", "Zl", "Zp"})

# Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties, without those of
# category Cf; and symbols and marks that are blank: U+2800, U+16FE4, U+1D159.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\ufff0-\ufff8\U00016fe4\U0001d159\U000e0000-\U000e0fff]"
)


def visible(text: str) -> str:
    r"""Return the text on one line, each character without a glyph as its escape."""
    if text.isprintable() and not _BLANK.search(text):
        return text
    return "".join(map(_visible_character, text))


def _visible_character(character: str) -> str:
    if unicodedata.category(character) in _WITHOUT_GLYPH or _BLANK.match(character):
        return character.encode("unicode_escape").decode()
    return character
