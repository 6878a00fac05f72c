"""/metrics."""

import pytest


@pytest.mark.parametrize(
    "name", ["jwks_requests_total", "jwt_verifications_total", "http_requests_total", "rate_limit_hits_total"]
)
def test_the_documented_metrics_exist_from_the_start(http, name):
    assert name in http.simulate_get("/metrics").text


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
