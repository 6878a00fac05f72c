"""One model stand-in process for all tests that use it."""

import os
import sys

import httpx
import openai
import pytest

from devstack.process import Process, free_port, responds, wait_for


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
    folder = tmp_path_factory.mktemp("standin")
    process = Process(command, folder / "log", env={**os.environ, "STANDIN_FOLDER": str(folder)})

    try:
        wait_for(lambda: responds(f"http://127.0.0.1:{port}/health"), process, "the stand-in")
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
    """stats() -> the counters of the stand-in."""
    return lambda: httpx.get(f"{url}/_standin/stats").json()


@pytest.fixture
def stream(client):
    """stream(message, ...) -> all events of a streamed response."""

    def run(message, **more):
        return list(client.responses.create(model="gpt-5.1", input=message, stream=True, **more))

    return run
