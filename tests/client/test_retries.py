"""docs/retries.md agrees with the client."""

import math
import re
from pathlib import Path

import grpc
import pytest

from board_client import Unavailable, arguments, async_board, backoff, channel
from board_client.backoff import Pauses, Retry
from board_client.calls import Scope
from board_client.v1 import board_pb2 as pb
from board_client.watch import Follow

documented = dict(
    re.findall(
        r"^\| (.+?) \| (.+?) \|$",
        (Path(__file__).parents[2] / "docs" / "retries.md").read_text(),
        re.MULTILINE,
    )[1:]
)

OPTIONS = dict(channel.OPTIONS)

AWAY = Unavailable("no answer", code=grpc.StatusCode.UNAVAILABLE)


def milliseconds(option):
    return f"{OPTIONS[option] / 1000:g} s"


def test_the_table_has_the_constants_of_the_client():
    low, high = backoff.JITTER
    assert documented == {
        "first pause": f"{backoff.FIRST_PAUSE:g} s",
        "largest pause": f"{backoff.LARGEST_PAUSE:g} s",
        "factor": f"{backoff.FACTOR:g}",
        "jitter": f"{low:g} to {high:g}",
        "attempts of a call": f"{backoff.ATTEMPTS}",
        "attempts of a call before the first answer of a server on this machine": (
            f"{backoff.ATTEMPTS_BEFORE_FIRST_ANSWER}"
        ),
        "attempts of a stream": f"{backoff.ATTEMPTS}",
        "attempts of a stream that has begun": "unlimited",
        "attempts of WaitFor": "unlimited",
        "reading of WaitFor's conditions after its deadline": f"{async_board.LOOKING:g} s",
        "timeout of a call": f"{channel.DEFAULT_TIMEOUT:g} s",
        "largest timeout": f"{arguments.LONGEST_TIMEOUT:.0f} s",
        "first pause before a connection is opened again": milliseconds(
            "grpc.initial_reconnect_backoff_ms"
        ),
        "largest pause before a connection is opened again": milliseconds(
            "grpc.max_reconnect_backoff_ms"
        ),
        "silence before a connection is pinged": milliseconds("grpc.keepalive_time_ms"),
        "wait for the answer to a ping": milliseconds("grpc.keepalive_timeout_ms"),
        "largest message": f"{channel.MAX_MESSAGE} bytes",
    }


def test_pauses_grow_by_the_factor_and_vary_by_the_jitter():
    pauses = Pauses()
    low, high = backoff.JITTER
    for middle in (0.1, 0.2, 0.4, 0.8, 1.6, 2, 2):
        assert middle * low <= pauses.take() <= middle * high


def test_a_call_has_as_many_attempts_as_documented():
    retry = Retry(math.inf, backoff.ATTEMPTS)
    for _ in range(backoff.ATTEMPTS - 1):
        retry.pause(AWAY)
    with pytest.raises(Unavailable):
        retry.pause(AWAY)


def test_a_watch_has_as_many_attempts_as_documented_until_it_has_begun():
    follow = Follow(Scope(""), attempts=backoff.ATTEMPTS)
    for _ in range(backoff.ATTEMPTS - 1):
        follow.pause(AWAY)
    with pytest.raises(Unavailable):
        follow.pause(AWAY)
    follow.take(pb.WatchResponse(revision=1))
    assert follow.pause(AWAY) <= 0.1 * max(backoff.JITTER)
    for _ in range(100):
        follow.pause(AWAY)
