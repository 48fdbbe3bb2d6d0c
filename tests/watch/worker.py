"""A worker process: sets a phase RUNNING in a session, and completes it on command.

Arguments: target, phase, ttl in seconds, on_expiry. It prints "working" once it has set the
phase and claimed its file. After a line on standard input it completes the phase and prints
"done" or "refused".
"""

import sys

from board_client import BoardClient, Contract, SessionExpired


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main() -> None:
    target, phase, ttl, on_expiry = sys.argv[1:]
    with (
        BoardClient(target) as client,
        client.session("worker", ttl=float(ttl), on_expiry=on_expiry) as session,
    ):
        session.set_phase_state(phase, "running", worker="worker")
        session.claim_file(f"{phase}.go", phase)
        say("working")
        sys.stdin.readline()
        try:
            session.complete_phase(phase, contracts=[Contract(phase, "type", "T")])
        except SessionExpired:
            say("refused")
        else:
            say("done")


if __name__ == "__main__":
    main()
