"""REST reads on one edge process over 32 kept connections."""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

import gevent  # noqa: E402

from devstack.bench.tools import connect, ms, request, row, sign_in  # noqa: E402
from models.conversations.conversation import Conversation, Message  # noqa: E402
from models.platform.database import transaction  # noqa: E402
from models.platform.ids import uuid7  # noqa: E402

CONNECTIONS, SECONDS = 32, 5
PATHS = ("/health", "/api/v1/auth/me", "/api/v1/agents", "/api/v1/conversations")
FASTAPI = {"/health": 1450, "/api/v1/auth/me": 770, "/api/v1/agents": 545, "/api/v1/conversations": 25}


def fill(who: dict) -> None:
    """200 conversations of 10 messages."""
    with transaction():
        for _ in range(200):
            key = uuid7()
            Conversation.insert(
                id=key,
                tenant_id=who["tenant_id"],
                user_id=who["user_id"],
                key=str(key),
                entry_agent="triage",
                message_count=10,
                last_message="x" * 160,
            ).execute()
            Message.insert_many(
                [
                    {"conversation": key, "position": p, "role": "user", "content": f"message {p} " * 20}
                    for p in range(10)
                ]
            ).execute()


def client(url: str, raw: bytes, until: float, waits: list) -> None:
    sock = connect(url)
    while time.perf_counter() < until:
        began = time.perf_counter()
        sock.sendall(raw)
        data = sock.recv(262144)
        head, _, body = data.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(head.decode())
        at = head.lower().index(b"content-length:") + 15
        size = int(head[at:].split(b"\r\n", 1)[0])
        while len(body) < size:
            body += sock.recv(262144)
        waits.append(time.perf_counter() - began)
    sock.close()


def main() -> None:
    facts = json.loads(sys.argv[1])
    who = sign_in(facts["url"])
    fill(who)
    rows = []
    for path in PATHS:
        waits: list[float] = []
        raw, until = request("GET", path, who), time.perf_counter() + SECONDS
        gevent.joinall([gevent.spawn(client, facts["url"], raw, until, waits) for _ in range(CONNECTIONS)])
        rows.append(
            row(
                "REST reads",
                f"GET {path}, p50 / p99 {ms(waits, 0.5, 0.99)}",
                f"{len(waits) / SECONDS:.0f} req/s",
                f"a FastAPI service, measured earlier: {FASTAPI[path]} req/s",
            )
        )
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
