"""`./dev chat`: sign in, ask, and print the answer as it comes."""

import json
from pathlib import Path

import httpx
from rich.console import Console

from devstack import state as instance

console = Console(highlight=False)


def sign_in(http: httpx.Client, facts: dict) -> None:
    answer = http.post("/api/v1/auth/token", json={"email": facts["email"], "password": facts["password"]})
    if answer.status_code != 200:
        raise SystemExit(f"Sign-in failed: {answer.json()['message']}")
    http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


def chat(state: Path, message: str, agent: str | None, conversation: str | None) -> int:
    body = {"message": message, "agent_type": agent or "triage", "conversation_id": conversation}
    run_id, facts = None, instance.need(state)
    with httpx.Client(base_url=facts["url"], timeout=httpx.Timeout(10, read=None)) as http:
        try:
            sign_in(http, facts)
            with http.stream("POST", "/api/v1/chat/stream", json=body) as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise SystemExit(answer.json()["message"])
                run_id = answer.headers["X-Run-Id"]
                return show(answer.iter_lines())
        except KeyboardInterrupt:
            if run_id:
                http.post(f"/api/v1/runs/{run_id}/cancel")
            console.print("\n[dim]cancelled[/]")
            return 130
        except httpx.HTTPError as error:
            where = f" Its run goes on: GET /api/v1/runs/{run_id}" if run_id else ""
            raise SystemExit(f"The connection to {facts['url']} failed: {error}.{where}") from None


def show(lines) -> int:
    for line in lines:
        if not line.startswith("data: "):
            continue
        event = json.loads(line[6:])
        if event["text_delta"]:
            console.print(event["text_delta"], end="", markup=False)
        elif event["run_item_name"] == "tool_called":
            console.print(f"[dim]({event['tool_name']})[/] ", end="")
        elif event["run_item_name"] == "handoff_occured":
            console.print(f"[dim](→ {event['new_agent']})[/] ", end="")
        if event["event"] == "restarted":
            console.print("\n[dim](another worker takes over)[/]")
        if event["is_terminal"]:
            return finish(event)
    return 1


def finish(event: dict) -> int:
    if event["kind"] == "error":
        console.print(f"[red]{event['payload']['error']}[/] [dim]({event['payload']['code']})[/]")
        return 1
    console.print(f"\n[dim]conversation {event['conversation_id']}[/]")
    return 0
