"""Durations as people write them: 500ms, 30s, 5m, 2h, 1h30m, or plain seconds."""

import re
from datetime import timedelta

import typer

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
_PART = rf"{_NUMBER}(ms|s|m|h)"
_LONGEST = timedelta(days=3650)


def duration(text: str | timedelta) -> timedelta:
    """Parse a duration above 0. Typer passes defaults too; they are returned unchanged.

    Raises typer.BadParameter if the text is not a duration.
    """
    if isinstance(text, timedelta):
        return text
    if re.fullmatch(_NUMBER, text, re.ASCII):
        text += "s"
    if not re.fullmatch(f"(?:{_PART})+", text, re.ASCII):
        raise typer.BadParameter(
            f'"{text}" is not a duration: write 500ms, 30s, 5m, 2h or a number of seconds'
        )
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in re.findall(_PART, text))
    if seconds > _LONGEST.total_seconds():
        raise typer.BadParameter(f'"{text}" is longer than ten years')
    if not (span := timedelta(seconds=seconds)):
        raise typer.BadParameter("must be longer than 0")
    return span


def written(span: timedelta) -> str:
    """Return a span in its two largest units at most: 1h30m, 5m, 45s; below a second, 500ms."""
    seconds = max(0.0, span.total_seconds())
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minute}m" if minute else f"{hours}h"
    if minutes:
        return f"{minutes}m{second}s" if second else f"{minutes}m"
    return f"{second}s"
