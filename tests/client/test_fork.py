"""A process that is forked while it has a client: the child must not use its copy."""

import subprocess
import sys

PROGRAM = """
import os, sys
from board_client import BoardClient

target, board = sys.argv[1:]

def in_child(session):
    try:
        session.list_phases()
    except RuntimeError as error:
        print(error)
    with BoardClient(target, board) as own:
        print(len(own.list_sessions()), "lives")

with BoardClient(target, board) as client, client.session("w") as session:
    session.claim_file("a.go", "p")
    if os.fork() == 0:
        in_child(session)
        sys.exit(0)  # leaves both blocks
    _, status = os.wait()
    print("child ended with", status)
    print([each.session_id for each in client.list_sessions()] == [session.session_id])
    print(client.file_owner("a.go"))
"""


def run(program, *arguments):
    """Run a program; return the lines of its output."""
    ran = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ran.stdout.splitlines() or ran.stderr


def test_a_forked_child_leaves_its_parents_session_alone_and_makes_a_client_of_its_own(
    server, board
):
    assert run(PROGRAM, server, board) == [
        f"this client of the board at {server} was made before this process was forked; "
        "make another in each process",
        "1 lives",
        "child ended with 0",
        "True",
        "p",
    ]


ASYNCHRONOUS = """
import asyncio, os, sys
from board_client import AsyncBoardClient, BoardClient

target, board = sys.argv[1:]

async def claims():
    async with AsyncBoardClient(target, board, timeout=10) as own:
        return await own.claims_for("p")

def in_child(inherited):
    for work in (claims, lambda: inherited.claims_for("p"), inherited.close):
        try:
            print(asyncio.run(work()))
        except RuntimeError as error:
            print(error)
    with BoardClient(target, board) as own:
        print(own.claims_for("p"))

def fork(work, *arguments):
    if (child := os.fork()) == 0:
        try:
            work(*arguments)
        finally:
            sys.stdout.flush()
            os._exit(0)
    return child

"""

WHILE_OPEN = """
async def main():
    async with AsyncBoardClient(target, board) as client:
        await client.claim_file("a.go", "p")
        child = fork(in_child, client)
        for n in range(20):
            await client.claim_file(f"{n}.go", "q")
        os.waitpid(child, 0)
        print(len(await client.claims_for("q")), flush=True)

asyncio.run(main())
"""

ONCE_CLOSED = """
client = AsyncBoardClient(target, board)

async def main():
    async with client:
        await client.claim_file("a.go", "p")

asyncio.run(main())
os.waitpid(fork(lambda: print(asyncio.run(claims()))), 0)
"""

UNUSABLE = (
    "AsyncBoardClient does not work in this process: it was forked while its parent had one open; "
    'start it with the method "spawn" or "forkserver" of multiprocessing, or use BoardClient in it'
)


def test_a_child_that_is_forked_while_an_asynchronous_client_is_open_cannot_use_one(server, board):
    lines = run(ASYNCHRONOUS + WHILE_OPEN, server, board)
    assert lines == [UNUSABLE, UNUSABLE, "None", "['a.go']", "20"]


def test_a_child_that_is_forked_once_all_are_closed_can_use_an_asynchronous_client(server, board):
    assert run(ASYNCHRONOUS + ONCE_CLOSED, server, board) == ["['a.go']"]
