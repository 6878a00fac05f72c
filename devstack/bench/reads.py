"""REST reads on one process over 32 kept connections, ours and the peer's in turn."""

from gevent import monkey

monkey.patch_all()

import re  # noqa: E402
import time  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from dataclasses import dataclass, field  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
import httpx  # noqa: E402

from devstack.bench.report import Asked, Measure, Row, ms, row  # noqa: E402
from devstack.bench.tools import Facts, Target, connect, exchange, request, sign_in, targets, tell  # noqa: E402
from devstack.bench.usage import Meter  # noqa: E402
from models.conversations.conversation import Conversation, Message  # noqa: E402
from models.platform.database import transaction  # noqa: E402
from models.platform.ids import uuid7  # noqa: E402

CONNECTIONS, ROUNDS, SECONDS = 32, 4, 1.5
ASKED = {"/health": None, "/api/v1/auth/me": 3, "/api/v1/agents": 3, "/api/v1/conversations": 10}  # times the peer
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


@dataclass
class Tally:
    """What one service did for one path."""

    waits: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu: float = 0.0

    def rate(self) -> Measure:
        return Measure((len(self.waits) / self.seconds,), "req/s")

    def cost(self) -> Measure:
        return Measure((1000 * self.cpu / len(self.waits),), "ms")


def fill(who: dict[str, str]) -> None:
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


def require_equal_answers(services: Sequence[Target], who: dict[str, str]) -> None:
    """SystemExit when the services answer different things: their speeds could not be compared."""
    for path in ASKED:
        answers = [_content(path, target.url, who) for target in services]
        if any(answer != answers[0] for answer in answers):
            raise SystemExit(f"GET {path} differs:\n{answers[0]}\n{answers[1]}")


def _content(path: str, url: str, who: dict[str, str]) -> Any:
    """A body without what may differ: the moment and uptime of /health, and whether a time names zero microseconds."""
    answer = httpx.get(url + path, headers={"Authorization": who["Authorization"]}).raise_for_status()
    content = answer.json()
    return sorted(content) if path == "/health" else _comparable(content)


def _comparable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _comparable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    return value.replace(".000000Z", "Z") if isinstance(value, str) and MOMENT.fullmatch(value) else value


def client(url: str, raw: bytes, until: float, waits: list[float]) -> None:
    sock = connect(url)
    while time.perf_counter() < until:
        began = time.perf_counter()
        exchange(sock, raw)
        waits.append(time.perf_counter() - began)
    sock.close()


def load(target: Target, path: str, who: dict[str, str], tally: Tally, seconds: float = SECONDS) -> None:
    raw, meter, began = request("GET", path, who), Meter({"server": target.pid}), time.perf_counter()
    clients = [gevent.spawn(client, target.url, raw, began + seconds, tally.waits) for _ in range(CONNECTIONS)]
    gevent.joinall(clients, raise_error=True)
    tally.seconds += time.perf_counter() - began
    tally.cpu += meter.used()["server"]


def compare(path: str, services: Sequence[Target], who: dict[str, str], no_peer: str) -> list[Row]:
    for target in services:
        load(target, path, who, Tally(), 0.5)
    tallies = [Tally() for _ in services]
    for _ in range(ROUNDS):  # in turn: what else the machine does meets both alike
        for target, tally in zip(services, tallies, strict=True):
            load(target, path, who, tally)
    here, peer = tallies[0], tallies[1] if len(tallies) > 1 else None
    times = ASKED[path]
    asked = Asked("times", (times,)) if times else None
    what = f"GET {path}"
    return [
        row(what, "requests a second", here.rate(), peer.rate() if peer else no_peer, asked=asked, better="higher"),
        row(what, "p50 / p99", ms(here.waits), ms(peer.waits) if peer else ""),
        row(what, "CPU of the server per request", here.cost(), peer.cost() if peer else ""),
    ]


def main() -> None:
    facts = Facts.given()
    who, services = sign_in(facts.url), targets(facts)
    fill(who)
    require_equal_answers(services, who)
    tell([one for path in ASKED for one in compare(path, services, who, facts.no_peer)])


if __name__ == "__main__":
    main()
