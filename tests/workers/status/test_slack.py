"""Slack channels: which are told, in which words, and what becomes of failures."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr

from models.platform.startup_checks import WORKER, problems
from tests.support.status import deliveries, fan_out, incident, later, update
from workers.gateways.slack import escaped


class Slack:
    """`got`: the bodies of all messages. `answers`: (status, headers, body) of the next answers; then they are accepted."""

    def __init__(self):
        self.got, self.tokens, self.answers = [], [], []
        slack = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                slack.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                slack.tokens.append(self.headers["Authorization"])
                status, headers, body = slack.answers.pop(0) if slack.answers else (200, {}, {"ok": True})
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(data))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/api"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def slack(clean, configure):
    found = Slack()
    configure(
        enable_slack_status_notifications=True,
        slack_status_bot_token=SecretStr("xoxb-1"),
        slack_api_base_url=found.url,
        slack_status_default_channels="#status",
    )
    yield found
    found.server.shutdown()
    found.server.server_close()


def told(slack):
    return sorted(message["channel"] for message in slack.got)


def test_the_default_channels_are_told_once_of_an_update(slack, configure):
    configure(slack_status_default_channels='["#status", "#ops"]')
    _, first = incident()
    fan_out(first), fan_out(first)
    assert told(slack) == ["#ops", "#status"]
    assert set(slack.tokens) == {"Bearer xoxb-1"}


def test_channels_of_tenants_are_told_too_and_each_channel_once(slack, configure, tenant):
    configure(slack_status_tenant_channel_map=json.dumps({str(tenant.id).upper(): "#acme, #status"}))
    fan_out(incident()[1])
    assert told(slack) == ["#acme", "#status"]


@pytest.mark.parametrize(
    ("text", "shown"), [("<" * 9, "&lt;&lt;…"), ("a&b", "a&amp;b"), ("", ""), ("a" * 10, "a" * 10)]
)
def test_a_text_is_cut_where_slack_would_find_it_too_long(text, shown):
    assert escaped(text, 10) == shown


def test_what_people_have_written_means_nothing_to_slack(slack):
    _, first = incident(title="<!channel> & <https://evil.example|here>", impact="a > b")
    fan_out(first)
    [message] = slack.got
    text = json.dumps(message)
    assert "<!channel>" not in text and "<https://evil" not in text
    assert "&lt;!channel&gt; &amp; " in text and "a &gt; b" in message["text"]


def test_long_texts_are_cut_to_what_slack_takes(slack):
    _, first = incident(title="t" * 200, impact="i" * 5000)
    fan_out(first)
    [message] = slack.got
    assert all(len(block["text"]["text"]) <= 3000 for block in message["blocks"]) and len(message["text"]) < 4000


@pytest.mark.parametrize(
    "answer",
    [
        (500, {}, b"oops"),
        (200, {}, {"ok": False, "error": "ratelimited"}),
        (429, {"Retry-After": "0"}, b""),
        (200, {}, b"<html>"),
    ],
)
def test_what_may_pass_is_tried_again_as_often_as_is_set(slack, answer, monkeypatch):
    monkeypatch.setattr("workers.status.deliver.LINGER_SECONDS", 0)
    slack.answers = [answer] * 5
    fan_out(incident()[1])
    for _ in range(4):
        later()
    [delivery] = deliveries()
    assert (delivery.state, delivery.attempts, len(slack.got)) == ("given_up", 3, 3)


def test_what_will_never_pass_is_not_tried_again(slack):
    slack.answers = [(200, {}, {"ok": False, "error": "channel_not_found"})]
    fan_out(incident()[1])
    [delivery] = deliveries()
    assert (delivery.state, delivery.attempts) == ("given_up", 1) and "channel_not_found" in delivery.error


def test_one_channel_that_fails_does_not_stop_the_others(slack, configure):
    configure(slack_status_default_channels="#a,#b,#c")
    slack.answers = [(200, {}, {"ok": False, "error": "is_archived"})]
    fan_out(incident()[1])
    assert told(slack) == ["#a", "#b", "#c"]
    assert sorted(one.state for one in deliveries()) == ["delivered", "delivered", "given_up"]


def test_a_wish_for_a_week_is_taken_for_two_minutes(slack):
    from models.platform.clock import now

    slack.answers = [(429, {"Retry-After": "604800"}, b"")]
    fan_out(incident()[1])
    [delivery] = deliveries()
    assert delivery.state == "pending" and 60 < (delivery.due_at - now()).total_seconds() <= 120


def test_between_two_messages_to_a_channel_is_a_pause(slack, configure):
    from models.platform.database import transaction
    from models.status import claims, fanouts

    configure(slack_status_rate_limit_window_seconds=30)
    row, first = incident()
    fan_out(first)
    assert len(slack.got) == 1

    with transaction():
        fanouts.hand_out(fanouts.of_update(update(row).id).id)
    assert claims.claim(claims.POSTS, 10).deliveries == []


def test_nothing_is_told_where_it_is_off(slack, configure):
    configure(enable_slack_status_notifications=False)
    fan_out(incident()[1])
    assert not slack.got and not deliveries()


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"slack_status_bot_token": None}, "SLACK_STATUS_BOT_TOKEN"),
        ({"slack_status_default_channels": ""}, "names no channel"),
        ({"slack_status_default_channels": "[1]"}, "no channel"),
        ({"slack_status_default_channels": "[#a"}, "JSON"),
        ({"slack_status_tenant_channel_map": "[]"}, "JSON object"),
        ({"slack_status_tenant_channel_map": '{"acme": "#a"}'}, "'acme'"),
    ],
)
def test_a_process_does_not_start_with_channels_that_cannot_work(slack, configure, values, word):
    from models.platform.settings import settings

    assert problems(settings, [WORKER]) == []
    configure(**values)
    [line] = problems(settings, [WORKER])
    assert word in line
