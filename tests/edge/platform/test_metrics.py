"""/metrics."""

import os
import subprocess
import sys

import pytest

FAMILIES = [
    "jwks_requests_total",
    "jwks_not_modified_total",
    "nonce_cache_hits_total",
    "nonce_cache_misses_total",
    "jwt_signings_total",
    "jwt_signing_duration_seconds",
    "jwt_verifications_total",
    "jwt_verification_duration_seconds",
    "service_account_issuance_total",
    "service_account_issuance_latency_seconds",
    "stripe_api_requests_total",
    "stripe_api_latency_seconds",
    "stripe_webhook_events_total",
    "stripe_gateway_operations_total",
    "stripe_gateway_operation_duration_seconds",
    "stripe_billing_stream_events_total",
    "rate_limit_hits_total",
    "usage_guardrail_decisions_total",
    "usage_limit_hits_total",
    "vector_store_operations_total",
    "vector_store_operation_duration_seconds",
    "container_operations_total",
    "container_operation_duration_seconds",
    "storage_operations_total",
    "storage_operation_duration_seconds",
    "signup_attempts_total",
    "signup_blocked_total",
    "email_delivery_attempts_total",
    "email_delivery_latency_seconds",
    "slack_notification_attempts_total",
    "slack_notification_latency_seconds",
    "browser_logs_total",
]
# Nothing has happened in this process, whose samples are shared as those of all processes are.
FIRST_SCRAPE = """
import edge.app, workers.main
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
registry = CollectorRegistry()
MultiProcessCollector(registry)
print(generate_latest(registry).decode())
"""


@pytest.fixture(scope="module")
def first_scrape(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("metrics"))
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": folder, "OPENAI_API_KEY": "sk-test"}
    done = subprocess.run([sys.executable, "-c", FIRST_SCRAPE], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_samples_before_anything_has_happened(first_scrape, name):
    samples = tuple(f"{name}{end}" for end in ("{", " ", "_count{", "_count "))
    assert [line for line in first_scrape if line.startswith(samples)]


@pytest.mark.parametrize("name", ["http_requests_total", "http_request_duration_seconds"])
def test_requests_are_counted(http, name):
    http.simulate_get("/health")
    assert f'{name}{{method="GET",route="/health"' in http.simulate_get("/metrics").text.replace("_count{", "{")


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("Bearer letmein-letmein", 200),
        ("bearer letmein-letmein", 200),
        ("Bearer wrong", 401),
        ("letmein-letmein", 401),
        ("Basic letmein-letmein", 401),
        (None, 401),
    ],
)
def test_a_metrics_token_is_required_where_one_is_set(http, configure, authorization, status):
    configure(metrics_token="letmein-letmein")
    headers = {"Authorization": authorization} if authorization else {}
    assert http.simulate_get("/metrics", headers=headers).status_code == status
