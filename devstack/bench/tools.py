"""What the load clients share."""

import socket
from urllib.parse import urlsplit

import psutil

from devstack.stack import EMAIL, PASSWORD


def row(what: str, figure: str, here: object, peer: object = "", target: str = "") -> dict:
    return {"what": what, "figure": figure, "here": str(here), "peer": str(peer), "target": target}


def quantile(values: list[float], part: float) -> float:
    """The value below which that part of `values` lies; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def ms(values: list[float], *parts: float) -> str:
    return " / ".join(f"{quantile(values, part) * 1000:.1f}" for part in parts) + " ms"


def cpu(pids: list[int]) -> float:
    """CPU seconds that the processes have used."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def sign_in(url: str) -> dict[str, str]:
    import httpx

    tokens = httpx.post(f"{url}/api/v1/auth/token", json={"email": EMAIL, "password": PASSWORD}, timeout=30).json()
    return {
        "Authorization": f"Bearer {tokens['access_token']}",
        "user_id": tokens["user_id"],
        "tenant_id": tokens["tenant_id"],
    }


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    sock = socket.create_connection((parts.hostname, parts.port), 30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    head = {"Host": "127.0.0.1", "Authorization": headers.get("Authorization", "")}
    if body:
        head |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items() if value)
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body
