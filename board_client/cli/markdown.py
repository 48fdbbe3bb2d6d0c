r"""Untrusted text as Markdown for a prompt.

Names and signatures come from workers. As code spans and fenced blocks they cannot
end their code, nor begin a heading or a list. Characters without a glyph are shown
as their escapes, see `visible`.
"""

import re

from board_client.cli.visible import visible

INDENT = "  "
"""Indentation of lines that belong to a list item."""


def code_span(text: str) -> str:
    """Return text, which must not be empty, as a code span."""
    shown = visible(text)
    fence = "`" * (_longest_run(shown) + 1)
    # Markdown strips one space from both ends if both have one.
    spaced = shown.strip(" ") and shown[0] == shown[-1] == " "
    pad = " " if spaced or "`" in (shown[0], shown[-1]) else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def code_of_item(text: str) -> str:
    """Return code to follow the words of a list item: a code span, or a block for several lines.

    In a block, a tab becomes four spaces.
    """
    if "\n" not in text:
        return f": {code_span(text)}"
    lines = [visible(line.replace("\t", "    ")) for line in text.split("\n")]
    fence = "`" * max(3, *(_longest_run(line) + 1 for line in lines))
    return "".join(f"\n{INDENT}{line}" for line in (fence, *lines, fence)).replace(
        f"\n{INDENT}\n", "\n\n"
    )


def _longest_run(text: str) -> int:
    """Return the length of the longest run of backticks."""
    return max(map(len, re.findall("`+", text)), default=0)
