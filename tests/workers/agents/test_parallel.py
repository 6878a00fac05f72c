"""Tasks at once: in threads here, and in greenlets, as in a worker, in a process of their own."""

import contextlib
import subprocess
import sys
import threading
import time

import pytest

from workers.agents import parallel
from workers.agents.parallel import Result, Stopped, Task

LONG = 30.0  # seconds that no task of these tests takes


def results(tasks, at_once=8, wait=contextlib.nullcontext, keep=lambda index, result: None):
    return [(index, value) for index, value in parallel.run(tasks, at_once, wait, keep) if isinstance(value, Result)]


def test_tasks_run_at_the_same_time_and_their_results_come_as_they_end():
    barrier, last = threading.Barrier(3), threading.Event()
    first = Task(lambda emit: barrier.wait(LONG) is None or last.wait(LONG), LONG)
    others = [Task(lambda emit: barrier.wait(LONG), LONG), Task(lambda emit: barrier.wait(LONG), LONG)]
    order = []
    for index, _ in parallel.run([first, *others], 8, contextlib.nullcontext, lambda *_: None):
        order.append(index)
        if len(order) == 2:
            last.set()
    assert order[-1] == 0 and sorted(order) == [0, 1, 2]


def test_no_more_tasks_run_at_once_than_allowed():
    running, most, lock = [], [], threading.Lock()

    def task(emit):
        with lock:
            running.append(1)
            most.append(len(running))
        time.sleep(0.01)
        with lock:
            running.pop()

    assert len(results([Task(task, LONG)] * 20, at_once=3)) == 20
    assert 1 < max(most) <= 3


def test_a_task_is_stopped_at_its_time_limit_and_the_others_go_on():
    seen = threading.Event()

    def endless(emit):
        try:
            while True:
                time.sleep(0.01)
        except Stopped:
            seen.set()
            raise

    ended = dict(results([Task(endless, 0.2), Task(lambda emit: "fine", LONG)]))
    assert ended[0].is_timeout and ended[0].value is None and ended[1].value == "fine"
    assert seen.wait(LONG)


def test_errors_are_results_and_what_a_task_emits_comes_before_its_end():
    def task(emit):
        emit("one")
        emit("two")
        raise KeyError("three")

    *emitted, (_, result) = parallel.run([Task(task, LONG)], 1, contextlib.nullcontext, lambda *_: None)
    assert emitted == [(0, "one"), (0, "two")] and isinstance(result.error, KeyError)


class Interrupted(BaseException):
    pass


def test_an_interrupt_stops_the_tasks_and_those_that_have_ended_are_kept():
    ended, stopped, waits = threading.Event(), threading.Event(), []

    def endless(emit):
        try:
            ended.wait(LONG)
            while True:
                time.sleep(0.01)
        except Stopped:
            stopped.set()
            raise

    @contextlib.contextmanager
    def wait():
        waits.append(1)
        if len(waits) == 2:
            ended.set()
            time.sleep(0.3)  # the others end while the interrupt is on its way
            raise Interrupted
        yield

    kept = []
    tasks = [Task(lambda emit: "at once", LONG), Task(endless, LONG), Task(lambda emit: ended.wait(LONG), LONG)]
    with pytest.raises(Interrupted):
        results(tasks, wait=wait, keep=lambda index, result: kept.append((index, result.value)))
    assert sorted(kept) == [(0, "at once"), (2, True)]
    assert stopped.wait(LONG)


GREEN = """
from gevent import monkey
monkey.patch_all()
import psycogreen.gevent
psycogreen.gevent.patch_psycopg()
import time
from contextlib import nullcontext
import gevent
from models.platform.database import database, release, transaction
from workers.agents import parallel
from workers.agents.parallel import Task

def statement(emit):
    database.execute_sql("select pg_sleep(20)")

def in_transaction(emit):
    with transaction():
        database.execute_sql("select pg_sleep(20)")

def careless(emit):
    try:
        time.sleep(20)
    except Exception:
        pass

began = time.monotonic()
tasks = [Task(function, 0.3) for function in (statement, in_transaction, careless)] * 10
ended = [result for _, result in parallel.run(tasks, 30, nullcontext, lambda *_: None)]
assert len(ended) == 30 and all(result.is_timeout for result in ended)
assert time.monotonic() - began < 10, "they ran one after the other"
gevent.sleep(0.2)
with gevent.Timeout(15):  # all places of the pool are free again
    free = [database.slots.acquire(timeout=1) for _ in range(database._max_connections)]
assert all(free)
for _ in free:
    database.slots.release()

for interrupted in range(2):
    main, stopped = gevent.getcurrent(), []
    def endless(emit):
        try:
            gevent.sleep(20)
        finally:
            stopped.append(1)
    gevent.spawn_later(0.2, main.throw, KeyboardInterrupt)
    try:
        list(parallel.run([Task(endless, 20)] * 3, 3, nullcontext, lambda *_: None))
    except KeyboardInterrupt:
        gevent.sleep(0.05)
        assert len(stopped) == 3
assert database.execute_sql("select 1").fetchone() == (1,)
print("fine")
"""


def test_greenlets_are_stopped_wherever_they_wait_and_leave_the_pool_in_order(stack):
    env = {**stack.env, "ENVIRONMENT": "test", "DATABASE_POOL_SIZE": "32"}
    ended = subprocess.run(
        [sys.executable, "-c", GREEN], check=False, env=env, capture_output=True, text=True, timeout=120
    )
    assert ended.stdout == "fine\n" and not ended.stderr, ended.stderr
