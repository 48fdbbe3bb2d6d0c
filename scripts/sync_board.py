"""Make board_client/board.py from async_board.py: the same calls without `await`."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "board_client" / "async_board.py"

HEAD = '''"""Board: the calls of one board.

`make generate` makes this file from async_board.py: edit that one.
"""
'''


def sync_board() -> str:
    """Return the text of board_client/board.py."""
    code = SOURCE.read_text().split('"""', 2)[2]  # after the docstring of the module
    code = re.sub(r"\b(async |await |async_|Async(?=[A-Z]))(?!for|with)", "", code)
    return _ruff(_ruff(HEAD + code, "check", "--select", "I", "--fix"), "format")


def _ruff(text: str, *arguments: str) -> str:
    ruff = Path(sys.executable).with_name("ruff")
    command = [ruff, *arguments, "--quiet", "--stdin-filename", "board_client/board.py", "-"]
    return subprocess.run(
        command, cwd=ROOT, input=text, capture_output=True, text=True, check=True
    ).stdout
