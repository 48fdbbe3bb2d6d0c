"""A worker in a process of its own: takes a phase in a session, and completes it when told to.

Arguments: target, phase, ttl in seconds, on_expiry. It says "working" once it
has the phase and its file, and, after a line on its standard input, how the
completion ended.
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
