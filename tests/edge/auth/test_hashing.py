"""The threads in which the edge hashes passwords."""

import os
import threading

import pytest

from edge.hashing import NICENESS, LowPriorityThreads, build_hasher
from models.auth.password_hashing import PasswordHasher, run_here
from tests.support.accounts import CHEAP


def test_functions_run_in_other_threads_at_low_priority():
    def thread(*args, **kwargs):
        priority = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        return threading.get_ident(), priority, args, kwargs

    ident, priority, args, kwargs = LowPriorityThreads(1)(thread, 1, two=2)
    assert ident != threading.get_ident() and priority >= NICENESS
    assert (args, kwargs) == ((1,), {"two": 2})
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) < NICENESS


def test_an_error_in_a_thread_reaches_the_caller():
    def fail():
        raise ValueError("in the thread")

    with pytest.raises(ValueError, match="in the thread"):
        LowPriorityThreads(1)(fail)


def test_a_hasher_works_in_the_threads_it_is_given():
    hasher = PasswordHasher(**CHEAP, run=LowPriorityThreads(2))
    assert hasher.verify(hasher.hash("correct horse battery"), "correct horse battery")


def test_without_gevent_the_calling_thread_hashes():
    assert build_hasher().run is run_here
