"""The line in which requests wait for a password to be hashed."""

import gevent
import pytest

from edge.line import Line, LineFull


@pytest.fixture
def waiting():
    """waiting(line, "a", "b", ...) -> the order in which these networks get their turn, each leaving at once."""

    def run(line, *networks):
        order = []

        def work(network):
            line.enter(network, 100, 100)
            order.append(network)
            line.leave()

        line.enter("first", 100, 100)
        greenlets = [gevent.spawn(work, network) for network in networks]
        gevent.sleep(0)
        line.leave()
        gevent.joinall(greenlets, timeout=5, raise_error=True)
        return order

    return run


def test_networks_take_turns(waiting):
    assert waiting(Line(1), "a", "a", "a", "b", "c", "b") == ["a", "b", "c", "a", "b", "a"]


def test_as_many_work_at_once_as_there_are_turns():
    line = Line(2)
    for _ in range(2):
        line.enter("a", 0, 0)
    with pytest.raises(LineFull):
        line.enter("a", 0, 0)
    line.leave()
    line.enter("a", 0, 0)


def test_the_line_and_the_part_of_a_network_are_limited():
    line = Line(1)
    line.enter("a", 3, 2)
    greenlets = [gevent.spawn(line.enter, network, 3, 2) for network in ("a", "a", "b")]
    gevent.sleep(0)
    with pytest.raises(LineFull):
        line.enter("a", 9, 2)
    with pytest.raises(LineFull):
        line.enter("c", 3, 2)
    for _ in range(4):
        line.leave()
        gevent.sleep(0)
    gevent.joinall(greenlets, timeout=5, raise_error=True)
    assert (line.free, line.waiting) == (1, {})


@pytest.mark.parametrize("has_its_turn", [False, True])
def test_whoever_is_killed_in_the_line_keeps_no_turn(has_its_turn):
    line = Line(1)
    line.enter("a", 9, 9)
    waiter = gevent.spawn(line.enter, "b", 9, 9)
    gevent.sleep(0)
    waiter.kill(block=False)
    if has_its_turn:
        line.leave()  # before the waiter learns that it is killed
    waiter.join()
    if not has_its_turn:
        line.leave()
    assert (line.free, line.waiting) == (1, {})
