"""The model stand-in as a process, one for all tests that ask it something."""

import sys
import urllib.request

import httpx
import openai
import pytest

from devstack.process import Process, free_port, wait_for


@pytest.fixture(scope="session")
def url(tmp_path_factory):
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "-k",
        "gevent",
        "--worker-connections",
        "10000",
        "--no-control-socket",
        "-b",
        f"127.0.0.1:{port}",
        "devstack.openai.server:create_app()",
    ]
    process = Process(command, tmp_path_factory.mktemp("standin") / "log")

    def ready():
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).status == 200
        except OSError:
            return False

    try:
        wait_for(ready, process, "stand-in")
        yield f"http://127.0.0.1:{port}"
        assert "Traceback" not in (log := process.log.read_text()), log
    finally:
        process.stop()


@pytest.fixture
def client(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-test", max_retries=0, timeout=10) as client:
        yield client


@pytest.fixture
def stats(url):
    return lambda: httpx.get(f"{url}/_standin/stats").json()


@pytest.fixture
def stream(client):
    def run(message, **more):
        return list(client.responses.create(model="gpt-5.1", input=message, stream=True, **more))

    return run
