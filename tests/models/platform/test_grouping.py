"""Calls that are made together, and what each caller gets."""

import threading

import pytest

from models.platform.grouping import Grouped
from tests.support.crowd import crowd


def test_calls_that_come_while_a_group_is_worked_on_go_together():
    groups, first_has_begun, may_go_on = [], threading.Event(), threading.Event()

    def work(group):
        groups.append(group)
        first_has_begun.set()
        may_go_on.wait(20)
        return [item * 2 for item in group]

    grouped, results = Grouped("test", work), {}
    callers = [threading.Thread(target=lambda n=n: results.update({n: grouped(n)})) for n in range(50)]
    callers[0].start()
    first_has_begun.wait(20)
    [caller.start() for caller in callers[1:]]
    while grouped.queue.qsize() < 49:
        pass
    may_go_on.set()
    [caller.join(20) for caller in callers]
    assert groups[0] == [0] and sorted(groups[1]) == list(range(1, 50)) and len(groups) == 2
    assert results == {n: n * 2 for n in range(50)}


def test_an_error_reaches_all_callers_of_its_group_and_no_later_ones():
    def work(group):
        if "bad" in group:
            raise KeyError("bad")
        return group

    grouped = Grouped("test", work)
    with pytest.raises(KeyError):
        grouped("bad")
    assert crowd(100, grouped) == list(range(100))


def test_work_that_returns_too_few_results_is_an_error():
    with pytest.raises(ValueError, match="zip"):
        Grouped("test", lambda group: [])("a")
