"""The line in which requests wait for a password to be hashed."""

import threading
import time

import pytest

from edge import line as module
from edge.line import Line, LineFull


@pytest.fixture
def wait_in():
    """wait_in(line, "a", "b", ...) -> (threads that wait in this order, the order in which they get their turn)."""
    threads, order = [], []

    def start(line, *networks):
        def work(network):
            line.enter(network, 100, 100)
            order.append(network)
            line.leave()

        for number, network in enumerate(networks, 1):
            threads.append(threading.Thread(target=work, args=(network,)))
            threads[-1].start()
            while sum(map(len, line.waiting.values())) < number:
                time.sleep(0.001)
        return threads, order

    yield start
    for thread in threads:
        thread.join(5)


def test_networks_take_turns(wait_in):
    line = Line(1)
    line.enter("first", 0, 0)
    threads, order = wait_in(line, "a", "a", "a", "b", "c", "b")
    line.leave()
    for thread in threads:
        thread.join(5)
    assert order == ["a", "b", "c", "a", "b", "a"]
    assert (line.free, line.waiting) == (1, {})


def test_as_many_work_at_once_as_there_are_turns():
    line = Line(2)
    for _ in range(2):
        line.enter("a", 0, 0)
    with pytest.raises(LineFull):
        line.enter("a", 0, 0)
    line.leave()
    line.enter("a", 0, 0)


def test_the_line_and_the_part_of_a_network_are_limited(wait_in):
    line = Line(1)
    line.enter("a", 0, 0)
    wait_in(line, "a", "a", "b")
    with pytest.raises(LineFull):
        line.enter("a", 9, 2)
    with pytest.raises(LineFull):
        line.enter("c", 3, 2)
    line.leave()


@pytest.mark.parametrize("has_its_turn", [False, True])
def test_whoever_is_killed_in_the_line_keeps_no_turn(monkeypatch, has_its_turn):
    line = Line(1)
    line.enter("a", 9, 9)

    class Killed(threading.Event):
        def wait(self, timeout=None):
            if has_its_turn:
                line.leave()  # before the waiter learns that it is killed
            raise SystemExit

    monkeypatch.setattr(module, "Event", Killed)
    with pytest.raises(SystemExit):
        line.enter("b", 9, 9)
    if not has_its_turn:
        line.leave()
    assert (line.free, line.waiting) == (1, {})
