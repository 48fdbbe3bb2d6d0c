r"""Text of others within Markdown that goes into a prompt.

Names and signatures come from whoever published them. As code spans and fenced
blocks they cannot end the code that they stand in, nor begin a heading or a
list; and what no reader would see is shown as its escape, as `visible` has it.
"""

import re

from board_client.cli.visible import visible

INDENT = "  "
"""What begins a line that belongs to an item of a list."""


def code_span(text: str) -> str:
    """Return text, which may not be empty, as code within a line."""
    shown = visible(text)
    fence = "`" * (_longest_run(shown) + 1)
    # Markdown takes one space off both ends, where both have one.
    spaced = shown.strip(" ") and shown[0] == shown[-1] == " "
    pad = " " if spaced or "`" in (shown[0], shown[-1]) else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def code_of_item(text: str) -> str:
    """Return code that follows the words of an item: on their line, or a block where it has more.

    In a block, a tab is four spaces.
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
