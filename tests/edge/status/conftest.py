"""Calls of the endpoints of the status."""

import pytest

PATH = "/api/v1/status/subscriptions"


@pytest.fixture
def call(http):
    """call("post", "/verify", headers, token=...) -> the answer."""

    def send(method, path="", headers=None, query="", ip=None, **body):
        more = {"remote_addr": ip} if ip else {}
        return http.simulate_request(
            method.upper(), PATH + path, headers=headers, query_string=query, json=body or None, **more
        )

    return send


@pytest.fixture
def subscribe(call):
    """subscribe("jo@example.com", headers, ...) -> the answer. What has a scheme is a webhook."""

    def send(target, headers=None, **more):
        channel = "webhook" if "://" in target else "email"
        return call("post", "", headers, **{"channel": channel, "target": target, **more})

    return send


@pytest.fixture
def no_limits(configure):
    configure(status_subscription_email_rate_limit_per_hour=0, status_subscription_ip_rate_limit_per_hour=0)


@pytest.fixture
def site(http):
    """A client of an application whose status nobody holds in memory yet."""
    from models.status import snapshot

    snapshot.forget()
    yield http
    snapshot.forget()
