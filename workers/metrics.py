"""Metrics of the workers. With PROMETHEUS_MULTIPROC_DIR set, the edge's /metrics shows them too."""

from prometheus_client import Counter, Histogram

MODEL_FALLBACKS = Counter(
    "model_fallbacks_total", "Responses asked of the next model of a chain.", ["from_model", "to_model", "code"]
)
JOBS = Counter("jobs_total", "Job attempts by how they ended.", ["name", "result"])
SECONDS = Histogram(
    "job_duration_seconds",
    "Time from claim to end of an attempt.",
    ["name"],
    buckets=(0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 30, 120, 600),
)


def job_done(name: str, result: str, seconds: float) -> None:
    """`result`: succeeded, dead, cancelled, retried, waiting, released, lost or unrecorded."""
    JOBS.labels(name, result).inc()
    SECONDS.labels(name).observe(seconds)
