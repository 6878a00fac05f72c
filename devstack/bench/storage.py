"""Signed URLs per second, and how fast uploads are verified."""

from gevent import monkey

monkey.patch_all()

import hashlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402
from datetime import timedelta  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
import httpx  # noqa: E402

from devstack.bench.report import Measure, Row, ms, row  # noqa: E402
from devstack.bench.tools import Setup, connect, exchange, print_rows, request, sign_in  # noqa: E402
from devstack.bench.usage import Meter  # noqa: E402
from workers.gateways import storage  # noqa: E402
from workers.gateways.storage_client import connected  # noqa: E402

CONNECTIONS, SECONDS, LINKS = 16, 4, 200
MEGABYTE, SIZE, ROUNDS = 1024 * 1024, 64, 3  # the size in megabytes
OBJECTS = "/api/v1/storage/objects"


class Client:
    def __init__(self, url: str, user: dict[str, str]) -> None:
        self.http = httpx.Client(base_url=url, headers={"Authorization": user["Authorization"]}, timeout=120)

    def announce(self, size: int) -> dict[str, Any]:
        body = {"filename": "bench.txt", "mime_type": "text/plain", "size_bytes": size}
        found: dict[str, Any] = self.http.post(f"{OBJECTS}/upload-url", json=body).raise_for_status().json()
        return found

    def send(self, data: bytes) -> str:
        upload = self.announce(len(data))
        httpx.put(upload["upload_url"], content=data, headers=upload["headers"], timeout=120).raise_for_status()
        return str(upload["object_id"])

    def complete(self, object_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.post(f"{OBJECTS}/{object_id}/complete").raise_for_status().json()
        return found


def signing(setup: Setup, user: dict[str, str], object_id: str) -> list[Row]:
    body = json.dumps({"filename": "bench.txt", "mime_type": "text/plain", "size_bytes": 5}).encode()
    scenario, rows = f"over {CONNECTIONS} connections", []
    for name, raw, status in (
        ("URLs of uploads", request("POST", f"{OBJECTS}/upload-url", user, body), 201),
        ("URLs of downloads", request("GET", f"{OBJECTS}/{object_id}/download-url", user), 200),
    ):
        meter = Meter({"edge": setup.pids["edge"]})
        latencies = _load(setup, raw, status)
        cost = 1000 * meter.used()["edge"] / len(latencies)
        rate = Measure((len(latencies) / SECONDS,), "/s")
        rows += [
            row(scenario, f"{name} per second", rate, better="higher"),
            row(scenario, f"{name}, p50 / p99", ms(latencies)),
            row(scenario, f"{name}, CPU of the edge", Measure((cost,), "ms")),
        ]
    return rows


def _load(setup: Setup, raw: bytes, status: int) -> list[float]:
    latencies: list[float] = []
    until = time.perf_counter() + SECONDS

    def client() -> None:
        sock = connect(setup.url)
        while time.perf_counter() < until:
            began = time.perf_counter()
            exchange(sock, raw, status)
            latencies.append(time.perf_counter() - began)

    gevent.joinall([gevent.spawn(client) for _ in range(CONNECTIONS)], raise_error=True)
    return latencies


def links() -> Row:
    """The links of a long list of messages, beside the same by the `minio` client."""
    names = {"filename": "Über uns.pdf", "mime_type": "application/pdf"}
    shown: dict[str, str | list[str] | tuple[str]] = {"response-content-disposition": "attachment"}
    storage.presigned_get("agent-data-x", "t", seconds=900, **names)  # so that both have loaded what they need
    connected().presigned_get_object("agent-data-x", "t")
    began = time.perf_counter()
    for number in range(LINKS):
        storage.presigned_get("agent-data-x", f"t/{number}", seconds=900, **names)
    ours, began = time.perf_counter() - began, time.perf_counter()
    for number in range(LINKS):
        connected().presigned_get_object("agent-data-x", f"t/{number}", timedelta(seconds=900), shown)
    theirs = time.perf_counter() - began
    return row(f"{LINKS} links", "time to sign", ms([ours]), ms([theirs], note="minio client"))


def verifying(client: Client) -> list[Row]:
    data = (b"0123456789abcde\n" * (MEGABYTE // 16)) * SIZE
    ours, bare = [], []
    for _ in range(ROUNDS):
        object_id = client.send(data)
        began = time.perf_counter()
        done = client.complete(object_id)
        ours.append(time.perf_counter() - began)
        if done["status"] != "ready":
            raise SystemExit(f"not verified: {done}")
        bare.append(_bare(done))
    rate = Measure((SIZE / min(ours),), "MB/s")
    alone = Measure((SIZE / min(bare),), "MB/s", "get and SHA-256 alone")
    return [row(f"a text of {SIZE} MB", "verified, with its copy", rate, alone, better="higher")]


def _bare(done: dict[str, Any]) -> float:
    began, digest = time.perf_counter(), hashlib.sha256()
    response = connected().get_object(done["bucket"], done["object_key"])
    for chunk in response.stream(256 * 1024):
        digest.update(chunk)
    response.release_conn()
    if digest.hexdigest() != done["sha256"]:
        raise SystemExit("other bytes than were verified")
    return time.perf_counter() - began


def main() -> None:
    setup = Setup.from_arguments()
    user = sign_in(setup.url)
    client = Client(setup.url, user)
    object_id = client.send(os.urandom(8).hex().encode())
    client.complete(object_id)
    print_rows([*signing(setup, user, object_id), links(), *verifying(client)])


if __name__ == "__main__":
    main()
