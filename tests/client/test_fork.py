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


def test_a_forked_child_leaves_its_parents_session_alone_and_makes_a_client_of_its_own(
    server, board
):
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, server, board],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout.splitlines() == [
        f"this client of the board at {server} was made before this process was forked; "
        "make another in each process",
        "1 lives",
        "child ended with 0",
        "True",
        "p",
    ], ran.stderr
