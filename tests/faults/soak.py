"""The one knob: BOARD_SOAK=1, which `make soak` sets, makes every test of this folder long."""

import os

LONG = os.environ.get("BOARD_SOAK", "") not in {"", "0"}


def scaled(short, long):
    """Say how much of something a test does in its two forms."""
    return long if LONG else short
