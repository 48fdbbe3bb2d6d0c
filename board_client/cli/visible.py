r"""Text of others on one line of a terminal.

Names, paths and signatures may hold line breaks, tabs and escape sequences.
Written as they are, they would break lines and columns, and could steer the
terminal.
"""

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def visible(text: str) -> str:
    r"""Return the text with each control character as its escape, such as \n or \x1b."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
