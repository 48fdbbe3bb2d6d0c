"""Write the tables of docs/security.md that list the methods, from board_server/wire/methods.py."""

from pathlib import Path

from board_server.principal import Role
from board_server.wire.methods import ROWS

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "security.md"


def security_document() -> str:
    """Return the text of docs/security.md with its tables written anew."""
    text = DOCUMENT.read_text()
    for name, table in {"roles": roles(), "bounds": bounds()}.items():
        begin = f"<!-- table of {name}, written by `make generate` -->\n"
        end = f"<!-- end of the table of {name} -->\n"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"{DOCUMENT} lacks a line of these two:\n{begin}{end}")
        text = f"{before}{begin}{table}{end}{after}"
    return text


def roles() -> str:
    """Return the table of the methods that each role may call, in the order of the roles."""
    lines = [["call", *(role.name.lower() for role in Role)], ["---"] * (1 + len(Role))]
    for name, row in sorted(ROWS.items(), key=lambda item: item[1].role):
        lines.append([name, *("x" if role >= row.role else "" for role in Role)])
    return _table(lines)


def bounds() -> str:
    """Return the table of the largest request of each method, and of the settings that bound it."""
    lines = [
        ["call", "largest request, bytes", "settings that bound the rest"],
        ["---", "--:", "---"],
    ]
    for name, row in ROWS.items():
        lines.append([name, f"{row.largest:,}", ", ".join(f"`{each}`" for each in row.bounds)])
    return _table(lines)


def _table(lines: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
