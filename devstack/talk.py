"""`./dev chat`: sign in, ask, and print the answer as it comes."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from devstack import state as instance

console = Console(highlight=False)
PATIENCE = 30.0  # seconds in which a broken stream may be found again


def sign_in(http: httpx.Client, facts: dict[str, Any]) -> None:
    answer = http.post("/api/v1/auth/token", json={"email": facts["email"], "password": facts["password"]})
    if answer.status_code != 200:
        raise SystemExit(f"Sign-in failed: {answer.json()['message']}")
    http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


def chat(state: Path, message: str, agent: str | None, conversation: str | None) -> int:
    body = {"message": message, "agent_type": agent or "triage", "conversation_id": conversation}
    facts = instance.need(state)
    with httpx.Client(base_url=facts["url"], timeout=httpx.Timeout(10, read=None)) as http:
        talk = Talk(http)
        try:
            sign_in(http, facts)
            for event in talk.events(body):
                if event["is_terminal"]:
                    return finish(event)
                show(event)
        except KeyboardInterrupt:
            if talk.run_id:
                http.post(f"/api/v1/runs/{talk.run_id}/cancel")
            console.print("\n[dim]cancelled[/]")
            return 130
        except httpx.HTTPError as error:
            where = f" Its run goes on: GET /api/v1/runs/{talk.run_id}" if talk.run_id else ""
            raise SystemExit(f"The connection to {facts['url']} failed: {error}.{where}") from None
    raise SystemExit(f"The stream ended without an answer. See GET /api/v1/runs/{talk.run_id}")


class Talk:
    """One question's events, over as many connections as it takes."""

    def __init__(self, http: httpx.Client):
        self.http, self.last = http, 0
        self.run_id: str | None = None

    def events(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        with self.http.stream("POST", "/api/v1/chat/stream", json=body) as answer:
            yield from self._until_broken(answer)
        lost = time.monotonic()
        while time.monotonic() - lost < PATIENCE:
            known = self.last
            try:
                headers = {"Last-Event-ID": str(self.last)}
                with self.http.stream("GET", f"/api/v1/runs/{self.run_id}/stream", headers=headers) as answer:
                    yield from self._until_broken(answer)
            except httpx.TransportError:
                time.sleep(0.5)
            if self.last > known:
                lost = time.monotonic()

    def _until_broken(self, answer: httpx.Response) -> Iterator[dict[str, Any]]:
        if answer.status_code != 200:
            answer.read()
            raise SystemExit(answer.json()["message"])
        self.run_id = answer.headers["X-Run-Id"]
        try:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    event = json.loads(line[6:])
                    self.last = event["sequence_number"]
                    yield event
        except httpx.TransportError:
            console.print("\n[dim](the connection broke; going on where it did)[/]")


def show(event: dict[str, Any]) -> None:
    if event["text_delta"]:
        console.print(event["text_delta"], end="", markup=False)
    elif event["run_item_name"] == "tool_called":
        console.print(f"[dim]({event['tool_name']})[/] ", end="")
    elif event["run_item_name"] == "handoff_occured":
        console.print(f"[dim](→ {event['new_agent']})[/] ", end="")
    if event["event"] == "restarted":
        console.print("\n[dim](another worker takes over)[/]")


def finish(event: dict[str, Any]) -> int:
    if event["kind"] == "error":
        console.print(f"[red]{event['payload']['error']}[/] [dim]({event['payload']['code']})[/]")
        return 1
    console.print(f"\n[dim]conversation {event['conversation_id']}[/]")
    return 0
