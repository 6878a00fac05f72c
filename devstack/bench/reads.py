"""REST reads on one process over 32 keep-alive connections, ours and the peer's in turn."""

from gevent import monkey

monkey.patch_all()

import re  # noqa: E402
import time  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from dataclasses import dataclass, field  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
import httpx  # noqa: E402

from devstack.bench.report import Measure, Row, Target, ms, row  # noqa: E402
from devstack.bench.tools import Service, Setup, all_services, connect, exchange, print_rows, request, sign_in  # noqa: E402
from devstack.bench.usage import Meter  # noqa: E402
from models.conversations.conversation import Conversation, Message  # noqa: E402
from models.platform.database import transaction  # noqa: E402
from models.platform.ids import uuid7  # noqa: E402

CONNECTIONS, ROUNDS, SECONDS = 32, 4, 1.5
TARGETS = {  # path: minimum ratio to the peer
    "/health": None,
    "/api/v1/auth/me": 3,
    "/api/v1/agents": 3,
    "/api/v1/conversations": 10,
}
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


@dataclass
class Tally:
    """The results of one service for one path."""

    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu: float = 0.0

    def rate(self) -> Measure:
        return Measure((len(self.latencies) / self.seconds,), "req/s")

    def cost(self) -> Measure:
        return Measure((1000 * self.cpu / len(self.latencies),), "ms")


def fill(user: dict[str, str]) -> None:
    """Create 200 conversations of 10 messages."""
    with transaction():
        for _ in range(200):
            key = uuid7()
            Conversation.insert(
                id=key,
                tenant_id=user["tenant_id"],
                user_id=user["user_id"],
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


def require_equal_answers(services: Sequence[Service], user: dict[str, str]) -> None:
    """SystemExit if the services answer differently: then their speeds cannot be compared."""
    for path in TARGETS:
        answers = [_content(path, service.url, user) for service in services]
        if any(answer != answers[0] for answer in answers):
            raise SystemExit(f"GET {path} differs:\n{answers[0]}\n{answers[1]}")


def _content(path: str, url: str, user: dict[str, str]) -> Any:
    """A body without what may differ: the values of /health, and whether a time includes zero microseconds."""
    answer = httpx.get(url + path, headers={"Authorization": user["Authorization"]}).raise_for_status()
    content = answer.json()
    return sorted(content) if path == "/health" else _comparable(content)


def _comparable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _comparable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    return value.replace(".000000Z", "Z") if isinstance(value, str) and TIMESTAMP.fullmatch(value) else value


def client(url: str, raw: bytes, until: float, latencies: list[float]) -> None:
    sock = connect(url)
    while time.perf_counter() < until:
        began = time.perf_counter()
        exchange(sock, raw)
        latencies.append(time.perf_counter() - began)
    sock.close()


def load(service: Service, path: str, user: dict[str, str], tally: Tally, seconds: float = SECONDS) -> None:
    raw, meter, began = request("GET", path, user), Meter({"server": service.pid}), time.perf_counter()
    clients = [gevent.spawn(client, service.url, raw, began + seconds, tally.latencies) for _ in range(CONNECTIONS)]
    gevent.joinall(clients, raise_error=True)
    tally.seconds += time.perf_counter() - began
    tally.cpu += meter.used()["server"]


def compare(path: str, services: Sequence[Service], user: dict[str, str], no_peer: str) -> list[Row]:
    for service in services:
        load(service, path, user, Tally(), 0.5)
    tallies = [Tally() for _ in services]
    for _ in range(ROUNDS):  # in turn, so that other load on the machine affects both alike
        for service, tally in zip(services, tallies, strict=True):
            load(service, path, user, tally)
    ours, peer = tallies[0], tallies[1] if len(tallies) > 1 else None
    ratio = TARGETS[path]
    target = Target("ratio", (ratio,)) if ratio else None
    scenario = f"GET {path}"
    return [
        row(
            scenario,
            "requests per second",
            ours.rate(),
            peer.rate() if peer else no_peer,
            target=target,
            better="higher",
        ),
        row(scenario, "latency, p50 / p99", ms(ours.latencies), ms(peer.latencies) if peer else ""),
        row(scenario, "CPU of the server per request", ours.cost(), peer.cost() if peer else ""),
    ]


def main() -> None:
    setup = Setup.from_arguments()
    user, services = sign_in(setup.url), all_services(setup)
    fill(user)
    require_equal_answers(services, user)
    rows: list[Row] = []
    for path in TARGETS:
        rows += compare(path, services, user, setup.no_peer)
    print_rows(rows)


if __name__ == "__main__":
    main()
