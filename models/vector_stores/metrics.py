"""What is counted of vector stores, in the edge and in the workers."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Histogram

from models.platform.errors import DomainError

OPERATIONS = Counter("vector_store_operations_total", "Operations of vector stores.", ["operation", "result"])
SECONDS = Histogram(
    "vector_store_operation_duration_seconds",
    "Time of such an operation.",
    ["operation", "result"],
    buckets=(0.005, 0.015, 0.03, 0.06, 0.12, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300),
)
NAMES = ("create", "delete", "attach", "detach", "index", "search", "sync", "expire")
for _name in NAMES:
    OPERATIONS.labels(_name, "success")  # exported as 0 before the first one


@contextmanager
def counted(operation: str) -> Iterator[None]:
    """Count what the block does as a success, or by the code of the error that it raises."""
    started, result = time.perf_counter(), "error"
    try:
        yield
        result = "success"
    except DomainError as error:
        result = error.code
        raise
    finally:
        done(operation, result, time.perf_counter() - started)


def done(operation: str, result: str, seconds: float) -> None:
    """`operation`: one of NAMES. `result`: success, the code of an error, or `error`."""
    OPERATIONS.labels(operation, result).inc()
    SECONDS.labels(operation, result).observe(seconds)
