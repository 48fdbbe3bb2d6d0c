"""The lines on standard output with which a server announces its addresses when it serves there."""

_LISTENING = "listening on "
_METRICS = "metrics on "


def listening(address: str) -> str:
    """Return the line that announces an address of the service."""
    return f"{_LISTENING}{address}"


def metrics(url: str) -> str:
    """Return the line that announces the URL of the metrics."""
    return f"{_METRICS}{url}"


def address_in(line: str) -> str | None:
    """Return the address that a line announces, None for any other line.

    For programs that start a server: "" at the end of its output means that it did not start.
    """
    line = line.strip()
    return line.removeprefix(_LISTENING) if line.startswith(_LISTENING) else None
