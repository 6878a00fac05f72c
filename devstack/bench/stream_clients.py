"""Create runs, write their events, and read them as server-sent events. For clients patched by gevent."""

import time
from uuid import UUID

import gevent

from devstack.bench.tools import connect, request
from models.platform.database import transaction
from models.platform.ids import uuid7
from models.platform.json import encode
from models.platform.redis import redis_client
from models.runs import events
from models.runs.run import Run

RATE, SECONDS, OPEN_SECONDS = 5, 10, 30


def make_runs(count: int, user: dict[str, str]) -> list[UUID]:
    run_ids = [uuid7() for _ in range(count)]
    rows = [
        {
            "id": run_id,
            "tenant_id": user["tenant_id"],
            "user_id": user["user_id"],
            "kind": "chat",
            "conversation_key": "bench",
            "agent": "triage",
            "state": "running",
            "request": {},
        }
        for run_id in run_ids
    ]
    with transaction():
        for start in range(0, count, 500):
            Run.insert_many(rows[start : start + 500]).execute()
    return run_ids


class Reader:
    """One client of one run. The constructor sends the request."""

    buffer = b""

    def __init__(self, run_id: UUID, url: str, user: dict[str, str]):
        self.numbers: list[int] = []
        self.latencies: list[float] = []
        self.ended = False
        self.sock = connect(url)
        self.sock.sendall(request("GET", f"/api/v1/runs/{run_id}/stream", user))

    def open(self) -> None:
        """Wait until the stream is open, that is, until its first comment arrives."""
        while b": open" not in self.buffer:
            part = self.sock.recv(65536)
            if not part:
                return
            self.buffer += part

    def read(self) -> None:
        while not self.ended:
            try:
                part = self.sock.recv(65536)
            except OSError:
                return
            if not part:
                return
            moment = time.time()
            *frames, self.buffer = (self.buffer + part).split(b"\n\n")
            for frame in frames:
                at = frame.find(b'"text_delta":"')
                if at >= 0:
                    sequence, sent = frame[at + 14 : frame.index(b'"', at + 14)].split(b"@")
                    self.numbers.append(int(sequence))
                    self.latencies.append(moment - float(sent))
                self.ended = self.ended or b'"is_terminal":true' in frame


def write(run_ids: list[UUID], at_once: bool) -> None:
    """Write RATE events/s to each stream for SECONDS, then the terminal event. Streams are staggered unless `at_once`."""
    template = encode(events.event("raw_response", "bench", text_delta="%"))
    last = encode(events.succeeded("bench", "triage", "", None))
    client, total = redis_client(), RATE * SECONDS
    slots = 1 if at_once else 20
    groups = [run_ids[n::slots] for n in range(slots)]
    began = time.time()
    for beat in range(total):
        for slot, group in enumerate(groups):
            gevent.sleep(max(0, began + (beat + slot / slots) / RATE - time.time()))
            pipe = client.pipeline(transaction=False)
            for run_id in group:
                data = template.replace(b"%", b"%d@%.4f" % (beat, time.time()))
                pipe.xadd(f"run:{run_id}", {"k": "raw_response", "e": data}, id=f"{beat + 1}-0")
            pipe.execute()
    pipe = client.pipeline(transaction=False)
    for run_id in run_ids:
        pipe.xadd(f"run:{run_id}", {"k": "run_item", "e": last, "t": b"1"}, id=f"{total + 1}-0")
    pipe.execute()


def open_readers(run_ids: list[UUID], url: str, user: dict[str, str]) -> list[Reader]:
    """One reader per run. Wait until all are open, or for OPEN_SECONDS at most."""
    readers = []
    for run_id in run_ids:
        readers.append(Reader(run_id, url, user))
        if len(readers) % 100 == 0:
            gevent.sleep(0.1)
    waiting = [gevent.spawn(reader.open) for reader in readers]
    gevent.joinall(waiting, timeout=OPEN_SECONDS)
    gevent.killall(waiting)
    return readers


class Probe:
    """Send a request ten times a second, each on a new connection. Requests do not wait for each other, so a stall delays many.

    `raw` is the request, by default GET /health. `statuses` has the status of each answer, "" if there was none.
    """

    def __init__(self, url: str, raw: bytes = request("GET", "/health", {})):
        self.url, self.raw = url, raw.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
        self.latencies: list[float] = []
        self.statuses: list[str] = []
        self.requests: list[gevent.Greenlet] = []
        self.sender = gevent.spawn(self._send_forever)

    def _send_forever(self) -> None:
        while True:
            self.requests.append(gevent.spawn(self._send))
            gevent.sleep(0.1)

    def _send(self) -> None:
        began, answer = time.time(), b""
        try:
            sock = connect(self.url)
            sock.sendall(self.raw)
            while part := sock.recv(4096):
                answer += part
            sock.close()
        except OSError:
            pass  # no answer in time: the latency shows it
        finally:
            self.latencies.append(time.time() - began)
            self.statuses.append(answer[9:12].decode())

    def stop(self) -> list[float]:
        """Return the seconds each request took. Wait at most ten more seconds for those that are still open."""
        self.sender.kill()
        gevent.joinall(self.requests, timeout=10)
        gevent.killall(self.requests)
        return self.latencies
