"""What a process with billing says when it starts."""

import logging

import pytest

from models.billing.startup import announce
from models.platform.settings import settings

LIVE, TEST = "sk_live_51Habcdefgh1234", "rk_test_51Habcdefgh5678"


@pytest.fixture
def said(configure, caplog):
    """said(...) -> (message, fields) of each line that a process with these settings logs."""

    def say(**values):
        caplog.clear()
        configure(**{"enable_billing": True, "stripe_webhook_secret": "whsec_abcdefgh", **values})
        with caplog.at_level(logging.INFO):
            announce(settings)
        return [(record.message, vars(record)) for record in caplog.records]

    return say


def test_one_line_with_masked_secrets(said):
    [(message, fields)] = said(stripe_secret_key=TEST, stripe_webhook_secret="whsec_abcdefgh, whsec_ijklmnop")
    assert message == "billing.on" and fields["stripe_key"] == "rk...5678"
    assert fields["webhook_signing"] == "wh...efgh, wh...mnop"
    assert (fields["plans"], fields["plan_count"], fields["stream"]) == (["pro", "starter"], 2, "off")
    assert said(stripe_secret_key=TEST, enable_billing_stream=True)[0][1]["stream"] == "redis"


def test_of_a_short_secret_nothing_is_shown(said):
    assert said(stripe_secret_key="sk_test_abc")[0][1]["stripe_key"] == "..."
    assert said(stripe_secret_key=None)[0][1]["stripe_key"] is None


@pytest.mark.parametrize(
    ("key", "environment", "warning"),
    [
        (LIVE, "production", []),
        (TEST, "development", []),
        ("key-of-a-proxy-1234", "production", []),
        (None, "production", []),
        (LIVE, "development", ["billing.live_key_in_development"]),
        (TEST, "production", ["billing.test_key_in_production"]),
    ],
)
def test_a_key_of_the_wrong_kind_is_worth_a_warning(said, key, environment, warning):
    assert [message for message, _ in said(stripe_secret_key=key, environment=environment)] == ["billing.on", *warning]


def test_nothing_is_said_without_billing(said):
    assert said(enable_billing=False) == []


def test_a_plan_file_that_cannot_be_used_stops_the_process(said):
    with pytest.raises(SystemExit, match=r"nowhere\.toml"):
        said(plans_path="/nowhere.toml")
    assert said(plans_path="/nowhere.toml", enable_billing=False) == []
