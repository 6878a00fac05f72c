"""Counting the operations of a feature, and the time that they take."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Histogram

from models.platform.errors import DomainError

BUCKETS = (0.005, 0.015, 0.03, 0.06, 0.12, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300)  # seconds


class Operations:
    """`<prefix>_operations_total` and `<prefix>_operation_duration_seconds`, by operation and result.

    Both labels have few values: the names given here, and `success`, `error` or the code of an error.
    """

    def __init__(self, prefix: str, subject: str, names: Iterable[str]) -> None:
        labels = ["operation", "result"]
        self.total = Counter(f"{prefix}_operations_total", f"Operations of {subject}.", labels)
        self.seconds = Histogram(
            f"{prefix}_operation_duration_seconds", f"Time of an operation of {subject}.", labels, buckets=BUCKETS
        )
        for name in names:
            self.total.labels(name, "success")  # exported as 0 before the first one
            self.seconds.labels(name, "success")

    @contextmanager
    def counted(self, operation: str) -> Iterator[None]:
        """Count what the block does as a success, or by the code of the error that it raises."""
        started, result = time.perf_counter(), "error"
        try:
            yield
            result = "success"
        except DomainError as error:
            result = error.code
            raise
        finally:
            self.done(operation, result, time.perf_counter() - started)

    def done(self, operation: str, result: str, seconds: float) -> None:
        """Count an operation that no block of code spans. `result`: `success`, the code of an error, or `error`."""
        self.total.labels(operation, result).inc()
        self.seconds.labels(operation, result).observe(seconds)
