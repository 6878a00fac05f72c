"""`./dev up` starts everything from an empty folder; `./dev down` stops it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console

from devstack import instance
from devstack.instance import Instance
from devstack.mails import MailNotices
from devstack.process import port_is_free, responds
from devstack.stack import ROOT, Stack, procfile
from devstack.supervise import run_all

DEFAULT_PORT = 8000
STOP_TIMEOUT = 60  # seconds
console = Console(stderr=True, highlight=False)


def up(state: Path, port: int | None, fresh: bool, detach: bool) -> int:
    """Start an instance; return the exit status.

    state    the state folder
    port     HTTP port; None: 8000, 0: a free one. SystemExit if it is in use
    fresh    delete all data first
    detach   return as soon as the instance is ready, and leave it running in the background
    """
    if running := instance.read(state):
        console.print(f"Already running: {running.url}")
        return 0
    port = DEFAULT_PORT if port is None else port
    if port and not port_is_free(port):
        raise SystemExit(f"Port {port} is in use. Choose another with --port N, or any free one with --port 0.")
    return _start_in_background(state, port, fresh) if detach else _run_in_foreground(state, port, fresh)


def _start_in_background(state: Path, port: int, fresh: bool) -> int:
    """Run `./dev up` as a background process and wait until it is ready."""
    state.mkdir(parents=True, exist_ok=True)
    log = state / "up.log"
    log.touch(mode=0o600)
    command = [sys.executable, "-m", "devstack", "up", "--state", str(state.resolve()), "--port", str(port)]
    command += ["--fresh"] if fresh else []
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    while not (running := instance.read(state)):
        if child.poll() is not None:
            raise SystemExit(log.read_text(errors="replace").strip())
        time.sleep(0.1)
    print_welcome(running)
    return 0


def _run_in_foreground(state: Path, port: int, fresh: bool) -> int:
    began = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))  # until honcho installs its own handlers

    def report(text: str) -> None:
        console.print(f"  [dim]{time.monotonic() - began:5.1f} s[/]  {text}", soft_wrap=True)

    with Stack(state, port) as stack:
        console.print(f"Starting in {stack.state}")
        if fresh:
            stack.wipe()
        stack.start_parts(on_ready=report)
        stack.check_catalogue()
        stack.migrate()
        tenant_id = stack.seed()
        report("database schema and demo account")
        try:
            return _run_processes(stack, tenant_id, report)
        finally:
            instance.ready_file(stack.state).unlink(missing_ok=True)
            console.print("Stopping ...")


def _run_processes(stack: Stack, tenant_id: str, report: Callable[[str], None]) -> int:
    commands = {name: command for name, command in procfile().items() if name != "release"}
    console_logs = {"LOG_FORMAT": "console", "LOG_LEVEL": "INFO"}
    monitor = Monitor(stack, tenant_id, report, MailNotices(stack.state))
    return run_all(commands, lambda name: console_logs | stack.env_of(name), str(ROOT), monitor.tick)


@dataclass
class Monitor:
    """Reports new mails, restarts parts that died, and prints the welcome text once the edge is ready."""

    stack: Stack
    tenant_id: str
    report: Callable[[str], None]
    mails: MailNotices
    ready: bool = False

    def tick(self) -> None:
        """Called about ten times a second."""
        for notice in self.mails.new():
            self.report(notice)
        for part in self.stack.parts.values():
            if part.died():
                self.report(f"{part.title} exited unexpectedly; restarting it")
                part.start()
        if not self.ready and responds(f"http://127.0.0.1:{self.stack.port}/health/ready"):
            self.ready = True
            self.report("ready")
            print_welcome(instance.write(self.stack, self.tenant_id))


def print_welcome(running: Instance) -> None:
    """Print how to use the instance. The lines to paste go to stdout, the rest to stderr."""
    url = running.url
    console.print(
        f"""
[bold]Longshore is running:[/] {url}    (API reference: {url}/docs, status page: {url}/status)
Sign in as {running.email} with password {running.password}

Paste this to get a first answer:
""",
        soft_wrap=True,
    )
    print(
        f"""TOKEN=$(curl -s {url}/api/v1/auth/token -H 'Content-Type: application/json' \\
  -d '{{"email":"{running.email}","password":"{running.password}"}}' | sed 's/.*"access_token": *"\\([^"]*\\)".*/\\1/')
curl -N {url}/api/v1/chat/stream -H "Authorization: Bearer $TOKEN" \\
  -H 'Content-Type: application/json' -d '{{"message":"Hello, what can you do?"}}'
""",
        flush=True,
    )
    console.print(
        'Or run `./dev chat "What time is it?"`. Mails are not sent; read them with `./dev mail`.', soft_wrap=True
    )
    console.print(
        "Changes of agents, tools and workflows count without a restart: docs/agents.md says how to add your own."
    )
    console.print("Stop with Ctrl-C or `./dev down`.\n")


def down(state: Path) -> int:
    """Stop the instance in this state folder and wait for it; return the exit status. SystemExit after 60 s."""
    running = instance.read(state)
    if running is None:
        console.print(f"No instance is running in {state}.")
        return 0
    process = psutil.Process(running.pid)
    os.kill(running.pid, signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT)
    except psutil.TimeoutExpired:
        raise SystemExit(f"Process {running.pid} has not exited within {STOP_TIMEOUT} s; see {state}/logs.") from None
    console.print("Stopped.")
    return 0
