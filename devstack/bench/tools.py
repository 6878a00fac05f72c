"""Shared by the load clients: the services under load, and plain HTTP over sockets, which uses little CPU."""

import json
import resource
import socket
import sys
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from devstack.bench.report import Row
from devstack.stack import EMAIL, PASSWORD

PEER = "FastAPI"
OURS = ("edge", "worker-agents")  # our processes that serve a chat


@dataclass(frozen=True)
class Setup:
    """The arguments of a load client: the URLs of both services, and the root pid of every process tree by name."""

    url: str
    pids: dict[str, int]
    peer_url: str | None = None
    no_peer: str = ""  # the text for the rows if there is no peer

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_arguments(cls) -> "Setup":
        """Read the setup from the command line, and raise the limit of open files."""
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return cls(**json.loads(sys.argv[1]))


@dataclass(frozen=True)
class Service:
    """A service under load, and the processes that do its work."""

    name: str
    url: str
    pids: dict[str, int]

    @property
    def pid(self) -> int:
        """The process that speaks HTTP."""
        return next(iter(self.pids.values()))


def all_services(setup: Setup) -> list[Service]:
    """Ours, then the peer if there is one."""
    services = [Service("ours", setup.url, {name: setup.pids[name] for name in OURS})]
    if setup.peer_url:
        services.append(Service(PEER, setup.peer_url, {"peer": setup.pids["peer"]}))
    return services


def print_rows(rows: list[Row]) -> None:
    """Print the rows as JSON for `./dev bench`, which started this client."""
    print(json.dumps(rows))


def sign_in(url: str, email: str = EMAIL) -> dict[str, str]:
    import httpx

    answer = httpx.post(f"{url}/api/v1/auth/token", json={"email": email, "password": PASSWORD}, timeout=30)
    tokens = answer.raise_for_status().json()
    return {
        "Authorization": f"Bearer {tokens['access_token']}",
        "user_id": tokens["user_id"],
        "tenant_id": tokens["tenant_id"],
    }


def connect(url: str, source: str | None = None) -> socket.socket:
    """A connection, from the local address `source` if that is given."""
    parts = urlsplit(url)
    sock = socket.create_connection((parts.hostname, parts.port), 30, (source, 0) if source else None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    head = {"Host": "127.0.0.1", "Authorization": headers.get("Authorization", "")}
    if body:
        head |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items() if value)
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def exchange(sock: socket.socket, raw: bytes, status: int = 200) -> None:
    """Send a request on an open connection and read the whole answer. SystemExit unless it has this status."""
    sock.sendall(raw)
    data = sock.recv(262144)
    while b"\r\n\r\n" not in data:
        part = sock.recv(262144)
        if not part:
            raise SystemExit("the service closed the connection")
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 %d" % status):
        raise SystemExit(data.decode(errors="replace"))
    at = head.lower().index(b"content-length:") + 15
    left = int(head[at:].split(b"\r\n", 1)[0]) - len(body)
    while left > 0:
        left -= len(sock.recv(262144))
