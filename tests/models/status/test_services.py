"""The services file: what is in the packaged one, and what a file cannot say."""

import pytest

from models.status.services import PACKAGED, UnknownService, known, read, services

GOOD = """
[services.api]
name = "API"
description = "Everything."
owner = "Platform"
"""


def test_billing_is_a_service_where_it_is_on(configure):
    configure(enable_billing=False)
    assert list(services()) == ["api", "chat", "models", "streams", "storage", "mail", "webhooks"]
    configure(enable_billing=True)
    assert "billing" in services()


def test_another_file_replaces_the_packaged_one(configure, tmp_path):
    path = tmp_path / "services.toml"
    path.write_text(GOOD + 'probe = { kind = "http", url = "http://10.0.0.1/health", slow_seconds = 1 }\n')
    configure(status_services_path=str(path))
    found = services()["api"]
    assert (found.name, found.group, found.probe["url"]) == ("API", None, "http://10.0.0.1/health")
    with pytest.raises(UnknownService):
        known(["chat"])


def test_keys_come_in_the_order_of_the_file():
    assert known(["mail", "api", "mail"]) == ["api", "mail"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "services: Field required"),
        ("[services]", "at least 1 item"),
        ("[services.api]\nname = 1", "services.api.name"),
        ("[services.api", "Expected"),
        (GOOD.replace("api", "API"), "services.API"),
        (GOOD + "colour = 'red'", "services.api.colour"),
        (GOOD + "probe = { kind = 'guess' }", "services.api.probe"),
        (GOOD + "probe = { kind = 'queue', queue = 'cellar', max_age_seconds = 1 }", "services.api.probe.queue.queue"),
        (GOOD + "probe = { kind = 'queue', queue = 'mail' }", "max_age_seconds: Field required"),
        (GOOD + "probe = { kind = 'http', url = 'http://user:pass@host/' }", "services.api.probe.http.url"),
        (GOOD + "probe = { kind = 'http', url = 'file:///etc/passwd' }", "services.api.probe.http.url"),
    ],
)
def test_a_faulty_file_is_refused_with_the_place_of_the_fault(tmp_path, text, fault):
    path = tmp_path / "services.toml"
    path.write_text(text)
    with pytest.raises(SystemExit) as refusal:
        read(path)
    assert str(path) in str(refusal.value)
    assert fault.split(":")[0] in str(refusal.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="No such file"):
        read(tmp_path / "none.toml")
    assert read(PACKAGED).services
