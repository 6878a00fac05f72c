"""Work of many callers that costs less if it is done together."""

import time
from collections.abc import Callable
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
SLEEP_SECONDS, LONGEST_SLEEP = 0.001, 0.01  # between two groups: for each caller of the last one, and at most
LARGEST = 200  # calls in a group


class Call(Generic[T, R]):
    __slots__ = ("error", "has_ended", "item", "results")

    def __init__(self, item: T) -> None:
        self.item, self.has_ended = item, Event()
        self.results: list[R] = []
        self.error: Exception | None = None


class Grouped(Generic[T, R]):
    """`grouped(item)` is `work([item])[0]`, but calls that come while a group is worked on go together with the next one.

    One thread (or greenlet) per process works for all callers. `work` returns one result per item, in their order. An error
    of it is raised in all callers of the group.
    """

    def __init__(self, name: str, work: Callable[[list[T]], list[R]]) -> None:
        self.name, self.work = name, work
        self.queue: SimpleQueue[Call[T, R]] = SimpleQueue()
        self.start_lock = Lock()
        self.thread: Thread | None = None

    def __call__(self, item: T) -> R:
        if self.thread is None:
            self._start()
        call: Call[T, R] = Call(item)
        self.queue.put(call)
        call.has_ended.wait()
        if call.error is not None:
            raise call.error
        return call.results[0]

    def _start(self) -> None:
        with self.start_lock:
            if self.thread is None:
                self.thread = Thread(target=self._work_forever, name=self.name, daemon=True)
                self.thread.start()

    def _work_forever(self) -> None:
        while True:
            group = [self.queue.get()]
            while not self.queue.empty() and len(group) < LARGEST:
                group.append(self.queue.get())
            self._work(group)
            time.sleep(min(SLEEP_SECONDS * len(group), LONGEST_SLEEP))

    def _work(self, group: list[Call[T, R]]) -> None:
        try:
            results = self.work([call.item for call in group])
            for call, result in zip(group, results, strict=True):
                call.results = [result]
        except Exception as error:  # noqa: BLE001  (raised again in each caller)
            for call in group:
                call.error = error
        finally:
            for call in group:
                call.has_ended.set()
