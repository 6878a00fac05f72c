"""`./dev up`: everything from nothing, and `./dev down`."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from devstack import state as instance
from devstack.mails import Mails
from devstack.process import port_is_free, responds
from devstack.stack import ROOT, Stack, procfile
from devstack.supervise import hold

console = Console(stderr=True, highlight=False)


def up(state: Path, port: int | None, fresh: bool, detach: bool) -> int:
    if facts := instance.read(state):
        console.print(f"Already up: {facts['url']}")
        return 0
    if port is None:
        port = 8000
        if not port_is_free(port):
            raise SystemExit("Port 8000 is taken. Choose another with --port N, or a free one with --port 0.")
    elif port and not port_is_free(port):
        raise SystemExit(f"Port {port} is taken. Choose another one, or a free one with --port 0.")
    return _detached(state, port, fresh) if detach else _attached(state, port, fresh)


def _detached(state: Path, port: int, fresh: bool) -> int:
    """Start ourselves again in the background and wait until that one is ready."""
    state.mkdir(parents=True, exist_ok=True)
    log = (state / "up.log").open("wb")
    command = [sys.executable, "-m", "devstack", "up", "--state", str(state.resolve()), "--port", str(port)]
    command += ["--fresh"] if fresh else []
    child = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
    while not (facts := instance.read(state)):
        if child.poll() is not None:
            raise SystemExit((state / "up.log").read_text(errors="replace").strip())
        time.sleep(0.1)
    welcome(facts)
    return 0


def _attached(state: Path, port: int, fresh: bool) -> int:
    began = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))  # until honcho takes over

    def tell(text: str) -> None:
        console.print(f"  [dim]{time.monotonic() - began:5.1f} s[/]  {text}", soft_wrap=True)

    with Stack(state, port) as stack:
        console.print(f"Starting in {stack.state}")
        if fresh:
            stack.wipe()
        stack.start_parts(tell=tell)
        stack.migrate()
        stack.seed()
        tell("schema and demo account")
        try:
            return _run(stack, tell)
        finally:
            instance.ready_file(stack.state).unlink(missing_ok=True)
            console.print("Stopping ...")


def _run(stack: Stack, tell: Callable[[str], None]) -> int:
    commands = {name: command for name, command in procfile().items() if name != "release"}
    ready, mails = False, Mails(stack.state)

    def tick() -> None:
        nonlocal ready
        for line in mails.new():
            tell(line)
        for part in stack.parts.values():
            if part.died():
                tell(f"{part.title} died unexpectedly; starting it again")
                part.start()
        if not ready and responds(f"http://127.0.0.1:{stack.port}/health/ready"):
            ready = True
            tell("ready")
            welcome(instance.write(stack, stack.tenant_id()))

    env = {"LOG_FORMAT": "console", "LOG_LEVEL": "INFO", **stack.env}
    return hold(commands, env, str(ROOT), tick)


def welcome(facts: dict[str, Any]) -> None:
    url = facts["url"]
    console.print(f"""
[bold]Longshore is up:[/] {url}    (reference: {url}/docs)
Sign in as {facts["email"]} with {facts["password"]}

Paste this for a first answer:
""")
    print(
        f"""TOKEN=$(curl -s {url}/api/v1/auth/token -H 'Content-Type: application/json' \\
  -d '{{"email":"{facts["email"]}","password":"{facts["password"]}"}}' | sed 's/.*"access_token": *"\\([^"]*\\)".*/\\1/')
curl -N {url}/api/v1/chat/stream -H "Authorization: Bearer $TOKEN" \\
  -H 'Content-Type: application/json' -d '{{"message":"Hello, what can you do?"}}'
""",
        flush=True,
    )
    console.print("What is mailed stays here: ./dev mail")
    console.print('Or: ./dev chat "What time is it?"      Stop with Ctrl-C or ./dev down\n')


def down(state: Path) -> int:
    facts = instance.read(state)
    if facts is None:
        console.print(f"Nothing is up in {state}.")
        return 0
    process = psutil.Process(facts["pid"])
    os.kill(facts["pid"], signal.SIGTERM)
    try:
        process.wait(60)
    except psutil.TimeoutExpired:
        raise SystemExit(f"Process {facts['pid']} has not ended within 60 s; see {state}/logs.") from None
    console.print("Stopped.")
    return 0
