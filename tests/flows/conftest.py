"""One stack of real processes for all live tests, which run in one test process."""

import contextlib
import json
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

import httpx
import psycopg2
import pytest
import redis

from devstack import mails
from tests.support.mails import plain
from tests.support.mcp_server import Server
from tests.support.probes import Site

EMAIL, PASSWORD = "demo@example.com", "demo-password-please-change"


def pytest_collection_modifyitems(items):
    for item in items:
        if "/flows/" in str(item.fspath):
            item.add_marker(pytest.mark.live)


class Live:
    """The stack, as seen by a client and by an operator."""

    def __init__(self, stack):
        self.stack, self.processes = stack, {}
        self.url = f"http://127.0.0.1:{stack.port}"
        self.http = httpx.Client(base_url=self.url, timeout=30)

    def start(self, name, key=None, **env):
        self.processes[key or name] = process = self.stack.spawn(name, **env)
        return process

    def revive(self):
        """Start again what has ended. Returns how many there were."""
        ended = [key for key, process in self.processes.items() if process.poll() is not None]
        for key in ended:
            self.start("worker-agents" if key == "spare" else key, key)
        return len(ended)

    def wait_ready(self, seconds=30.0):
        eventually(lambda: self.http.get("/health/ready").status_code == 200, seconds)

    def sign_in(self):
        tokens = self.http.post("/api/v1/auth/token", json={"email": EMAIL, "password": PASSWORD}).json()
        self.http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        return tokens

    @contextlib.contextmanager
    def chat(self, message, **more):
        """POST /chat/stream -> (run id, iterator of (sequence, event))."""
        with self.http.stream("POST", "/api/v1/chat/stream", json={"message": message, **more}) as response:
            if response.status_code != 200:
                response.read()
                raise AssertionError(f"{response.status_code} {response.text}")
            yield response.headers["X-Run-Id"], frames(response.iter_lines())

    @contextlib.contextmanager
    def resume(self, run_id, after=0):
        with self.http.stream("GET", f"/api/v1/runs/{run_id}/stream", params={"after": after}) as response:
            assert response.status_code == 200
            yield frames(response.iter_lines())

    def run(self, run_id):
        return self.http.get(f"/api/v1/runs/{run_id}").json()

    def sql(self, text, *args):
        with contextlib.closing(psycopg2.connect(self.stack.env["DATABASE_URL"])) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(text, args)
            return cursor.fetchall() if cursor.description else None

    def redis(self, name="REDIS_URL"):
        return redis.Redis.from_url(self.stack.env[name])

    def mail(self, to, subject):
        """The newest mail with this subject to this address; None if there is none yet."""
        messages = [mails.read(file) for file in mails.stored(self.stack.state)]
        matches = [mail for mail in messages if (mail["To"], mail["Subject"]) == (to, f"longshore: {subject}")]
        return matches[-1] if matches else None

    def mailed_tokens(self, to, subject):
        message = self.mail(to, subject)
        return set(re.findall(r"\b[0-9a-f]{32}\.[0-9a-f]{64}\b", plain(message))) if message else set()

    def provider(self):
        return httpx.get(self.stack.env["OPENAI_BASE_URL"].replace("/v1", "/_standin/stats")).json()

    def owner_of(self, run_id):
        """The pid of the worker process that holds the run's job."""
        rows = self.sql("select owner from job where run_id = %s and state = 'running'", run_id)
        return int(rows[0][0].split(":")[1]) if rows and rows[0][0] else None


def frames(lines):
    """(sequence, event) of every data frame, whether its id is in the same frame or in one of its own."""
    for line in lines:
        if line.startswith("data: "):
            event = json.loads(line[6:])
            yield event["sequence_number"], event


def eventually(check, seconds=10.0, pause=0.05):
    """The first true result of `check`. After `seconds`, AssertionError or the last error of `check`."""
    end = time.monotonic() + seconds
    while True:
        try:
            if result := check():
                return result
            problem = AssertionError(f"not within {seconds} s: {result!r}")
        except (httpx.HTTPError, psycopg2.Error, redis.RedisError, KeyError) as error:
            problem = error
        if time.monotonic() > end:
            raise problem
        time.sleep(pause)


ROOT = Path(__file__).parents[2]
CATALOGUE = ROOT / "tests" / "support" / "catalogue"  # agents and tools of the tests
MODELS = """
[providers.chat]
base_url = "{url}"
wire = "chat"

[providers.steps]
base_url = "{url}"
wire = "responses"
extra = {{ parallel_tool_calls = false }}

[providers.down]
base_url = "http://127.0.0.1:9/v1"
wire = "chat"
attempts = 1

[providers.once]
base_url = "{url}"
wire = "responses"
attempts = 1
read_seconds = 3

[providers.once-chat]
base_url = "{url}"
wire = "chat"
attempts = 1
read_seconds = 3

[aliases]
safe = ["down:any", "chat:gpt-5.1"]
"""


def models_of(stack):
    """The settings by which clients may ask for the stand-in over both wires."""
    path = stack.state / "models.toml"
    path.write_text(MODELS.format(url=stack.env["OPENAI_BASE_URL"]))
    allowed = "chat:gpt-5.1,safe,once:gpt-5.1,once-chat:gpt-5.1,steps:gpt-5.1"
    return {"MODELS_PATH": str(path), "AGENT_MODELS_ALLOWED": allowed}


def catalogue_of(stack, server):
    """The settings of the tests' own agents, in a copy that tests may change, and of the MCP server that one of them uses."""
    folder = stack.state / "catalogue"
    shutil.copytree(CATALOGUE, folder)
    return {"AGENTS_PATH": str(folder), "MCP_TOOLS": json.dumps([server.entry()])}


def services_of(stack, site):
    """The packaged services, and one whose probe gets this site."""
    path = stack.state / "services.toml"
    lab = f'[services.lab]\nname = "Lab"\ndescription = "A test."\nowner = "Lab"\nprobe = {{ kind = "http", url = "{site.url}" }}'
    path.write_text(f"{(ROOT / 'models/status/services.toml').read_text()}\n{lab}\n")
    return {"STATUS_SERVICES_PATH": str(path), "STATUS_CACHE_SECONDS": "1"}


@pytest.fixture(scope="session")
def live_stack():
    from devstack.process import free_port
    from devstack.stack import Stack

    state = Path(tempfile.mkdtemp(prefix="longshore-live-"))
    without_urls = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
    webhook_port = free_port()
    no_limits = {
        "WEBHOOK_TRUSTED_HOSTS": f"127.0.0.1:{webhook_port}",
        "CHAT_RATE_LIMIT_PER_MINUTE": "0",
        "CHAT_STREAM_RATE_LIMIT_PER_MINUTE": "0",
        "CHAT_STREAM_CONCURRENT_LIMIT": "0",
        "BILLING_CALLS_PER_MINUTE": "0",
        "BILLING_WAIT_SECONDS": "60",
    }
    with Stack(state, environ={**without_urls, **no_limits}) as stack, Server(state) as server:
        stack.start_parts()
        live_site = Site()
        stack.env |= models_of(stack) | catalogue_of(stack, server) | services_of(stack, live_site)
        stack.migrate()
        stack.seed()
        live = Live(stack)
        live.mcp_server, live.webhook_port, live.site = server, webhook_port, live_site
        for name in ("edge", "worker-agents", "worker-jobs", "scheduler"):
            live.start(name)
        live.start("worker-agents", "spare")
        live.wait_ready()
        live.sign_in()
        yield live
    shutil.rmtree(state, ignore_errors=True)


@pytest.fixture
def live(live_stack):
    yield live_stack
    live_stack.revive()
    live_stack.wait_ready()


@pytest.fixture
def wait_until():
    return eventually
