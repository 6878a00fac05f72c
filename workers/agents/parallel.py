"""Several functions at once, each with a time limit, in greenlets or threads that are stopped when it has passed."""

import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from dramatiq.threading import Interrupt, is_gevent_active, raise_thread_exception

from models.platform.database import database, release
from workers.agents.providers.client import Wait

Emit = Callable[[Any], None]


class Stopped(Interrupt):
    """Raised inside a task whose time has passed, or that nobody waits for any more. Not an Exception: it passes through
    code that handles those."""


class Keep(Protocol):
    def __call__(self, index: int, result: "Result") -> None: ...


@dataclass(frozen=True, slots=True)
class Task:
    """`function(emit)`: what it emits reaches the caller at once. `seconds`: its time limit."""

    function: Callable[[Emit], Any]
    seconds: float


@dataclass(frozen=True, slots=True)
class Result:
    """What a task returned, or the error that it raised; neither if its time has passed. `seconds`: that it took."""

    value: Any = None
    error: Exception | None = None
    is_timeout: bool = False
    seconds: float = 0.0


class Running:
    """A task that has been started. It puts (index, False, what it emits) and in the end (index, True, Result)."""

    def __init__(self, index: int, task: Task, inbox: SimpleQueue[tuple[int, bool, Any]]) -> None:
        self.index, self.task, self.inbox = index, task, inbox
        self.began = time.monotonic()
        self.has_ended = self.is_stopped = False
        self.greenlet: Any = None
        context = contextvars.copy_context()
        self.thread = threading.Thread(target=context.run, args=(self._run,), name="tool", daemon=True)
        self.thread.start()

    @property
    def seconds_left(self) -> float:
        return self.began + self.task.seconds - time.monotonic()

    def result(self, **fields: Any) -> Result:
        return Result(seconds=time.monotonic() - self.began, **fields)

    def _run(self) -> None:
        if is_gevent_active():
            import gevent

            self.greenlet = gevent.getcurrent()
        try:
            result = self.result(value=self.task.function(lambda value: self.inbox.put((self.index, False, value))))
        except Stopped:
            result = self.result(is_timeout=True)
        except Exception as error:  # noqa: BLE001  (the caller raises it, or says what it means)
            result = self.result(error=error)
        self.has_ended = True
        if self.is_stopped:
            database.discard()  # a statement may have been cut
        else:
            release()
        self.inbox.put((self.index, True, result))

    def stop(self) -> None:
        """Raise Stopped in the task: at once in a greenlet; in a thread when it next runs Python code."""
        self.is_stopped = True
        if self.greenlet is not None:
            import gevent

            gevent.get_hub().loop.run_callback(self._throw)
        elif not self.has_ended:
            raise_thread_exception(self.thread.ident, Stopped)

    def _throw(self) -> None:
        if not self.has_ended:
            self.greenlet.throw(Stopped())


def run(tasks: Sequence[Task], at_once: int, wait: Wait, keep: Keep) -> Generator[tuple[int, Any], None, None]:
    """Run the tasks, at most `at_once` at a time, and yield (index, what a task emits) and (index, its Result) as they come.

    `keep(index, result)` is called for each result before it is yielded, and also if an interrupt inside `wait()` ends this
    generator: for those that have ended by then. The other tasks are stopped.
    """
    inbox: SimpleQueue[tuple[int, bool, Any]] = SimpleQueue()
    waiting, running = deque(enumerate(tasks)), dict[int, Running]()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                index, task = waiting.popleft()
                running[index] = Running(index, task, inbox)
            for index, is_end, value in _next(inbox, running, wait):
                if index not in running:  # it ended when it was being stopped
                    continue
                if is_end:
                    del running[index]
                    keep(index, value)
                yield index, value
    finally:
        for unfinished in running.values():
            unfinished.stop()
        _keep_ended(inbox, running, keep)


def _next(
    inbox: SimpleQueue[tuple[int, bool, Any]], running: dict[int, Running], wait: Wait
) -> list[tuple[int, bool, Any]]:
    """The next message, or the ends of those whose time has passed."""
    try:
        with wait():
            return [inbox.get(timeout=max(0.0, min(task.seconds_left for task in running.values())))]
    except Empty:
        late = [task for task in running.values() if task.seconds_left <= 0]
        for task in late:
            task.stop()
        return [(task.index, True, task.result(is_timeout=True)) for task in late]


def _keep_ended(inbox: SimpleQueue[tuple[int, bool, Any]], running: dict[int, Running], keep: Keep) -> None:
    while running and not inbox.empty():
        index, is_end, value = inbox.get()
        if is_end and index in running and not value.is_timeout:
            del running[index]
            keep(index, value)
