"""Metrics of the workers. With PROMETHEUS_MULTIPROC_DIR set, the edge's /metrics shows them too."""

from prometheus_client import Counter, Gauge, Histogram

from models.platform.clock import now
from models.runs.run import Run
from models.status.services import services
from workers.mail.kinds import CATEGORIES

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
MODEL_SECONDS = Histogram(
    "model_request_seconds",
    "Time of a request to a model, to the end of its response.",
    ["provider", "model", "outcome"],
    buckets=(0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320),
)
MODEL_FIRST_TOKEN = Histogram(
    "model_first_token_seconds",
    "Time until a model begins to answer.",
    ["provider", "model"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32),
)
MODEL_TOKENS = Counter("model_tokens_total", "Tokens that models report.", ["model", "direction"])
TOOL_CALLS = Counter("tool_calls_total", "Calls of tools that run here.", ["tool", "outcome"])
TOOL_SECONDS = Histogram(
    "tool_call_seconds",
    "Time of such a call.",
    ["tool"],
    buckets=(0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 120, 600),
)
ATTACHMENTS_MADE = Counter(
    "agent_attachments_total", "Images and files that agents have made, by what became of them.", ["result"]
)
for _result in ("stored", "refused"):
    ATTACHMENTS_MADE.labels(_result)  # exported as 0 before the first one
USAGE_BATCHES = Counter(
    "usage_batches_total", "Batches of usage for Stripe's meters, by what came of an attempt.", ["result"]
)
USAGE_UNFORWARDED = Gauge(
    "usage_unforwarded_seconds",
    "Age of the oldest usage that Stripe's meters could have and do not.",
    multiprocess_mode="mostrecent",
)
RUN_SECONDS = Histogram(
    "run_seconds",
    "Time from a run's request to its end, of runs that a worker has ended.",
    ["kind", "state"],
    buckets=(0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 86_400),
)
STRIPE_CALLS = Counter("stripe_api_requests_total", "Calls of Stripe.", ["operation", "result"])
STRIPE_SECONDS = Histogram(
    "stripe_api_latency_seconds",
    "Time of such a call, with its retries.",
    ["operation"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60),
)


STRIPE_CALLS.labels("customers.create", "success")  # exported as 0 before the first one
STRIPE_SECONDS.labels("customers.create")


def stripe_called(operation: str, result: str, seconds: float) -> None:
    """`operation`: such as customers.create. `result`: success, the code of the error, or interrupted by us."""
    STRIPE_CALLS.labels(operation, result).inc()
    STRIPE_SECONDS.labels(operation).observe(seconds)


OPENAI_CALLS = Counter("openai_api_requests_total", "Calls of the provider, but for models.", ["operation", "result"])
OPENAI_SECONDS = Histogram(
    "openai_api_latency_seconds",
    "Time of such a call, with its retries.",
    ["operation"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60, 300),
)


def openai_called(operation: str, result: str, seconds: float) -> None:
    """`operation`: such as vector_stores.create. `result`: success, the code of the error, or interrupted by us."""
    OPENAI_CALLS.labels(operation, result).inc()
    OPENAI_SECONDS.labels(operation).observe(seconds)


NOTICES = Counter("billing_notices_total", "Notices of billing by how their delivery ended.", ["channel", "result"])
for _channel in ("mail", "webhook"):
    for _result in ("delivered", "given_up"):
        NOTICES.labels(_channel, _result)  # exported as 0 before the first one


def notice_ended(channel: str, result: str) -> None:
    NOTICES.labels(channel, result).inc()


STATUS_DELIVERIES = Counter(
    "status_deliveries_total",
    "Deliveries of status alerts: how they ended; attempts that failed and are repeated; and those that a killed worker may "
    "have sent before.",
    ["channel", "result"],
)
for _channel in ("email", "webhook", "slack"):
    for _result in ("delivered", "given_up", "skipped", "retried", "perhaps_twice"):
        STATUS_DELIVERIES.labels(_channel, _result)
STATUS_WEBHOOK_SECONDS = Histogram(
    "status_webhook_duration_seconds",
    "Time of one attempt to send a status alert to a webhook.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
)
SLACK_MESSAGES = Counter("slack_notification_attempts_total", "Messages to Slack channels.", ["channel", "result"])
SLACK_SECONDS = Histogram(
    "slack_notification_latency_seconds",
    "Time of such a message.",
    ["channel"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
for _channel in ("default", "tenant"):
    SLACK_SECONDS.labels(_channel)
    for _result in ("sent", "error"):
        SLACK_MESSAGES.labels(_channel, _result)
STATUS_PROBES = Counter("status_probe_total", "Probes of services by what they have found.", ["service", "result"])
STATUS_PROBE_SECONDS = Histogram(
    "status_probe_duration_seconds",
    "Time of such a probe.",
    ["service"],
    buckets=(0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
SERVICE_UP = Gauge(
    "status_service_up", "Whether a service's last probe succeeded.", ["service"], multiprocess_mode="mostrecent"
)
for _service in services().values():
    if _service.probe:
        STATUS_PROBE_SECONDS.labels(_service.key)
        for _result in ("good", "slow", "failed"):
            STATUS_PROBES.labels(_service.key, _result)


def service_probed(service: str, result: str, seconds: float) -> None:
    """`result`: good, slow or failed."""
    STATUS_PROBES.labels(service, result).inc()
    STATUS_PROBE_SECONDS.labels(service).observe(seconds)
    SERVICE_UP.labels(service).set(result != "failed")


def status_delivery(channel: str, result: str, count: int = 1) -> None:
    STATUS_DELIVERIES.labels(channel, result).inc(count)


def slack_sent(channel: str, result: str, seconds: float) -> None:
    """`channel`: default or tenant, whose list it is on: names of channels would be too many. `result`: sent or error."""
    SLACK_MESSAGES.labels(channel, result).inc()
    SLACK_SECONDS.labels(channel).observe(seconds)


MAILS = Counter("email_delivery_attempts_total", "Attempts to hand a mail over.", ["category", "result"])
MAIL_SECONDS = Histogram(
    "email_delivery_latency_seconds",
    "Time of such an attempt.",
    ["category", "result"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
)
for _category in CATEGORIES:
    MAIL_SECONDS.labels(_category, "success")
    for _result in ("success", "error", "timeout", "suppressed"):
        MAILS.labels(_category, _result)


def mail_sent(category: str, result: str, seconds: float | None) -> None:
    """`result`: success, error, timeout, or suppressed, which takes no time."""
    MAILS.labels(category, result).inc()
    if seconds is not None:
        MAIL_SECONDS.labels(category, result).observe(seconds)


EMBEDDINGS = Counter("embedding_requests_total", "Requests to the embeddings server.", ["outcome"])
EMBEDDED_TEXTS = Counter("embedded_texts_total", "Texts that became vectors.")
EMBEDDING_SECONDS = Histogram(
    "embedding_request_seconds",
    "Time of such a request.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
for _outcome in ("ok", "embeddings_unavailable", "embeddings_timeout", "embeddings_rate_limited"):
    EMBEDDINGS.labels(_outcome)


def embedded(outcome: str, texts: int, seconds: float) -> None:
    """`outcome`: ok, the code of the error, or interrupted by us."""
    EMBEDDINGS.labels(outcome).inc()
    EMBEDDED_TEXTS.inc(texts)
    EMBEDDING_SECONDS.observe(seconds)


def job_done(name: str, result: str, seconds: float) -> None:
    """`result`: succeeded, dead, cancelled, retried, put_off, waiting, released, lost or unrecorded."""
    JOBS.labels(name, result).inc()
    SECONDS.labels(name).observe(seconds)


def model_answered(provider: str, model: str, outcome: str, seconds: float) -> None:
    """`model`: a name of the models file. `outcome`: ok, an error code, or interrupted by us."""
    MODEL_SECONDS.labels(provider, model, outcome).observe(seconds)


def model_tokens(model: str, tokens_in: int, tokens_out: int) -> None:
    MODEL_TOKENS.labels(model, "input").inc(tokens_in)
    MODEL_TOKENS.labels(model, "output").inc(tokens_out)


def tool_called(tool: str, outcome: str, seconds: float) -> None:
    """`tool`: a tool of the catalogue, or other. `outcome`: ok, or why it has failed (workers/agents/outcomes.py)."""
    TOOL_CALLS.labels(tool, outcome).inc()
    TOOL_SECONDS.labels(tool).observe(seconds)


def run_ended(run: Run) -> None:
    """Count a run that has just ended."""
    RUN_SECONDS.labels(run.kind, run.state).observe((now() - run.created_at).total_seconds())
