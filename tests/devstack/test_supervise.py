"""Restarting processes: `./dev up` in small."""

import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from devstack.stack import ROOT

SCRIPT = """
import os, sys
from devstack.supervise import run_all
sys.exit(run_all({"job": sys.argv[1]}, lambda name: os.environ, ".", lambda: None))
"""


@pytest.fixture
def supervise():
    """supervise(command) -> a process that supervises one command and prints honcho's messages."""
    processes = []

    def start(command):
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", SCRIPT, command], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def read_until(process, pattern, seconds=15):
    """The match of the first printed line that matches. AssertionError if the output ends before."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        match = next((match for line in process.stdout if (match := re.search(pattern, line))), None)
    finally:
        timer.cancel()
    assert match, f"{pattern} was not printed"
    return match


@pytest.mark.parametrize("command", ["sleep 300", "sh -c 'sleep 300 & wait'"])
def test_a_killed_process_is_restarted_even_if_its_children_survive(supervise, command):
    process = supervise(command)
    pid = int(read_until(process, r"job started \(pid=(\d+)\)")[1])
    os.kill(pid, signal.SIGKILL)
    read_until(process, "job exited unexpectedly; restarting it")
    assert int(read_until(process, r"job started \(pid=(\d+)\)")[1]) != pid
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0


def test_a_process_that_keeps_exiting_stops_everything(supervise):
    process = supervise("false")
    read_until(process, "job exited 5 times within 30 s; stopping everything")
    assert process.wait(15) == 1
