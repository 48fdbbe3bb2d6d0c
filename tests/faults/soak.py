"""BOARD_SOAK=1, which `make soak` sets, makes every test of this folder long."""

import os

LONG = os.environ.get("BOARD_SOAK", "") not in {"", "0"}


def scaled(short, long):
    """Return the amount for the short form of a test, or for its long form."""
    return long if LONG else short
