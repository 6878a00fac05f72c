"""`./dev chat`: sign in, ask a question, and print the answer while it is streamed."""

import json
import mimetypes
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape
from rich.prompt import Confirm

from devstack import instance
from devstack.instance import Instance

console = Console(highlight=False)
RECONNECT_SECONDS = 30.0  # how long a broken stream is tried again without a new event
CANCELLED = 130  # exit status
Event = dict[str, Any]


def chat(
    state: Path,
    message: str,
    *,
    agent: str | None,
    conversation: str | None,
    model: str | None,
    attach: Iterable[Path] = (),
) -> int:
    """Ask one question and print the answer. Returns the exit status: 0, 1 if the run failed, 130 if cancelled.

    SystemExit if no instance is running, a request is refused, or the connection fails for good.
    """
    body: dict[str, Any] = {"message": message, "agent_type": agent or "triage", "conversation_id": conversation}
    if model:
        body["run_options"] = {"run_config": {"model": model}}
    server = instance.require(state)
    with httpx.Client(base_url=server.url, timeout=httpx.Timeout(10, read=None)) as http:
        stream = ResumableStream(http)
        try:
            sign_in(http, server)
            body["attachments"] = [upload(http, path) for path in attach]
            for event in stream.events(body):
                if event["is_terminal"]:
                    print_attachments(http, event.get("attachments") or [])
                    return print_end(event)
                print_event(event)
                if event["event"] == "approval_requested":
                    decide(http, str(stream.run_id), event["payload"]["approvals"])
        except KeyboardInterrupt:
            if stream.run_id:
                http.post(f"/api/v1/runs/{stream.run_id}/cancel")
            console.print("\n[dim]Cancelled.[/]")
            return CANCELLED
        except httpx.HTTPError as error:
            hint = f" The run continues: GET /api/v1/runs/{stream.run_id}" if stream.run_id else ""
            raise SystemExit(f"The connection to {server.url} failed: {error}.{hint}") from None
    raise SystemExit(f"The stream ended without an answer. See GET /api/v1/runs/{stream.run_id}")


def sign_in(http: httpx.Client, server: Instance) -> None:
    """Sign in as the demo user; later requests of `http` carry the token. SystemExit if it is refused."""
    response = http.post("/api/v1/auth/token", json={"email": server.email, "password": server.password})
    if response.status_code != 200:
        raise SystemExit(f"Sign-in failed: {response.json()['message']}")
    http.headers["Authorization"] = f"Bearer {response.json()['access_token']}"


def upload(http: httpx.Client, path: Path) -> str:
    """Store a file. Returns the id of its object, which is ready. SystemExit if it is refused."""
    mime_type = mimetypes.guess_type(path.name)[0] or "text/plain"
    announced = {"filename": path.name, "mime_type": mime_type, "size_bytes": path.stat().st_size}
    answer = http.post("/api/v1/storage/objects/upload-url", json=announced)
    if answer.status_code != 201:
        raise SystemExit(f"{path}: {_refusal(answer.json())}")
    to = answer.json()
    with path.open("rb") as file:
        httpx.request(to["method"], to["upload_url"], headers=to["headers"], content=file).raise_for_status()
    answer = http.post(f"/api/v1/storage/objects/{to['object_id']}/complete")
    if answer.status_code != 200:
        raise SystemExit(f"{path}: {_refusal(answer.json())}")
    return str(to["object_id"])


def show_attachments(http: httpx.Client, conversation: str) -> None:
    """Print what the answer has attached, with links that download it."""
    history = http.get(f"/api/v1/conversations/{conversation}", params={"limit": 1}).json()
    for attachment in history["messages"][-1]["attachments"]:
        console.print(f"[dim]{escape(attachment['filename'])}[/] {attachment['url']}", soft_wrap=True)


class ResumableStream:
    """The events of one run. If the connection breaks, the stream is resumed after the last event received."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.run_id: str | None = None
        self.last = 0  # sequence number of the last event

    def events(self, body: dict[str, Any]) -> Iterator[Event]:
        """POST `body` to /chat/stream and yield the events. SystemExit if a request is refused."""
        with self.http.stream("POST", "/api/v1/chat/stream", json=body) as response:
            yield from self._until_broken(response)
        broken_since = time.monotonic()
        while time.monotonic() - broken_since < RECONNECT_SECONDS:
            before = self.last
            try:
                headers = {"Last-Event-ID": str(self.last)}
                with self.http.stream("GET", f"/api/v1/runs/{self.run_id}/stream", headers=headers) as response:
                    yield from self._until_broken(response)
            except httpx.TransportError:
                time.sleep(0.5)
            if self.last > before:
                broken_since = time.monotonic()

    def _until_broken(self, response: httpx.Response) -> Iterator[Event]:
        if response.status_code != 200:
            response.read()
            raise SystemExit(_refusal(response.json()))
        self.run_id = response.headers["X-Run-Id"]
        try:
            for line in response.iter_lines():
                if line.startswith("data: "):
                    event = json.loads(line[6:])
                    self.last = event["sequence_number"]
                    yield event
        except httpx.TransportError:
            console.print("\n[dim](the connection broke; resuming)[/]")


def decide(http: httpx.Client, run_id: str, approvals: list[dict[str, Any]]) -> None:
    """Ask the person at the terminal about each call. SystemExit without a terminal, or if their decision is refused."""
    for approval in approvals:
        call = f"{approval['tool_name']} {json.dumps(approval['arguments'], ensure_ascii=False)}"
        if not sys.stdin.isatty():
            raise SystemExit(f"\n{call} has to be approved: POST /api/v1/runs/{run_id}/approvals/{approval['call_id']}")
        is_allowed = Confirm.ask(f"\nMay it call {escape(call)}?", console=console, default=False)
        body = {"decision": "approve" if is_allowed else "deny", "digest": approval["digest"]}
        response = http.post(f"/api/v1/runs/{run_id}/approvals/{approval['call_id']}", json=body)
        if response.status_code != 200:
            raise SystemExit(_refusal(response.json()))


def print_event(event: Event) -> None:
    """Print what an event adds to the answer: text, a tool call, a handoff, a restart."""
    if event["text_delta"]:
        console.print(event["text_delta"], end="", markup=False)
    elif event["run_item_name"] == "tool_called":
        console.print(f"[dim](calls {event['tool_name']})[/] ", end="")
    elif event["run_item_name"] == "handoff_occured":
        console.print(f"[dim](→ {event['new_agent']})[/] ", end="")
    if event["event"] == "restarted":
        goes_on = event["payload"].get("void_from", 1) is None
        console.print(f"\n[dim]({'the run goes on' if goes_on else 'another worker starts the answer again'})[/]")
    if event["event"] == "model_fallback":
        console.print(f"[dim]({event['payload']['from']} fails, asking {event['payload']['to']})[/] ", end="")


def print_attachments(http: httpx.Client, attachments: list[dict[str, Any]]) -> None:
    """Print where the files are that the answer has made. The links work for a while."""
    for attachment in attachments:
        response = http.get(f"/api/v1/storage/objects/{attachment['object_id']}/download-url")
        link = response.json()["download_url"] if response.status_code == 200 else _refusal(response.json())
        console.print(f"\n[dim]{escape(attachment['filename'])}:[/] {escape(link)}", soft_wrap=True, end="")


def print_end(event: Event) -> int:
    """Print a terminal event; return the exit status."""
    if event["kind"] == "error":
        console.print(f"[red]{event['payload']['error']}[/] [dim]({event['payload']['code']})[/]", soft_wrap=True)
        return 1
    if event["event"] == "cancelled":
        console.print("\n[dim]The run was cancelled.[/]")
        return CANCELLED
    console.print(f"\n[dim]conversation {event['conversation_id']}[/]")
    return 0


def _refusal(error: dict[str, Any]) -> str:
    """Why a request was refused: the message, and for a body that is not valid each problem."""
    problems = error.get("details")
    if not isinstance(problems, list):
        return str(error["message"])
    return "\n".join([error["message"], *(f"  {problem['msg']}" for problem in problems)])
