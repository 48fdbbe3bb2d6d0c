"""The demo, run to its end, and interrupted."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
DEMO = [sys.executable, str(EXAMPLES / "demo.py"), "--pace", "0"]


def complete(text):
    """Return whether the summary shows that the whole nebula is done."""
    return "Phases: 18 done\nClaims: none\nContracts: 50 file, 50 function\n" in text


@pytest.mark.timeout(300)  # the first time compiles the dispatcher
@pytest.mark.usefixtures("go")
def test_the_go_dispatcher_carries_a_real_nebula_to_its_end():
    ran = subprocess.run(DEMO, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert complete(ran.stdout)
    assert "dispatcher.py" not in ran.stdout


def test_without_go_the_demo_says_so_and_does_the_same_in_python(tmp_path):
    environment = {**os.environ, "PATH": str(tmp_path)}
    ran = subprocess.run(DEMO, capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Go is not installed" in ran.stdout
    assert complete(ran.stdout)


def test_a_nebula_that_is_not_completed_exits_with_1(tmp_path):
    (tmp_path / "nebula.toml").write_text('[nebula]\nname = "n"\n')
    for phase, scope in {"fails": "../elsewhere.go", "works": "a.go"}.items():
        head = f'id = "{phase}"\nscope = ["{scope}"]\n'
        (tmp_path / f"{phase}.md").write_text(f"+++\n{head}+++\n")
    command = [*DEMO, "--python", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "1 failed, 1 done" in ran.stdout
    assert "OutOfScope" in ran.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_cut_short_leaves_no_process_behind(number):
    command = [*DEMO[:2], "--python", "--workers", "3", "--pace", "600"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as demo:
        while len(started := descendants(demo.pid)) < 5:  # a server, a dispatcher, its workers
            assert demo.poll() is None
            time.sleep(0.02)
        demo.send_signal(number)
    assert demo.returncode == 128 + number
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []


def descendants(pid):
    """Return the processes that this one has started, directly or not."""
    children = [
        int(child)
        for thread in Path(f"/proc/{pid}/task").glob("*/children")
        for child in thread.read_text().split()
    ]
    return children + [below for child in children for below in descendants(child)]
