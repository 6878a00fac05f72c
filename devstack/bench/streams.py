"""Many open streams on one edge process."""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import random  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

import gevent  # noqa: E402
import psutil  # noqa: E402

from devstack.bench.tools import connect, cpu, ms, request, row, sign_in  # noqa: E402
from models.platform.database import transaction  # noqa: E402
from models.platform.ids import uuid7  # noqa: E402
from models.platform.redis import redis_client  # noqa: E402
from models.runs import events, progress  # noqa: E402
from models.runs.run import Run  # noqa: E402

RATE, SECONDS = 5, 10


def make_runs(count: int, who: dict) -> list:
    rows = [
        {
            "id": uuid7(),
            "tenant_id": who["tenant_id"],
            "user_id": who["user_id"],
            "kind": "chat",
            "conversation_key": "bench",
            "agent": "triage",
            "state": "running",
            "request": {},
        }
        for _ in range(count)
    ]
    with transaction():
        for start in range(0, count, 500):
            Run.insert_many(rows[start : start + 500]).execute()
    return [item["id"] for item in rows]


class Reader:
    def __init__(self, run_id, facts: dict, headers: dict):
        self.numbers: list[int] = []
        self.waits: list[float] = []
        self.ended = False
        self.sock = connect(facts["url"])
        self.sock.sendall(request("GET", f"/api/v1/runs/{run_id}/stream", headers))

    def read(self) -> None:
        buffer = b""
        while not self.ended:
            part = self.sock.recv(65536)
            if not part:
                return
            moment = time.time()
            *frames, buffer = (buffer + part).split(b"\n\n")
            for frame in frames:
                at = frame.find(b'"text_delta":"')
                if at >= 0:
                    sequence, sent = frame[at + 14 : frame.index(b'"', at + 14)].split(b"@")
                    self.numbers.append(int(sequence))
                    self.waits.append(moment - float(sent))
                self.ended = self.ended or b'"is_terminal":true' in frame


def write(run_ids: list, at_once: bool) -> None:
    """RATE events a second to each stream for SECONDS, then the terminal one. Streams are out of step unless `at_once`."""
    template = progress.encode(events.event("raw_response", "bench", text_delta="%"))
    last = progress.encode(events.succeeded("bench", "triage", "", None))
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


def probe(url: str, waits: list) -> None:
    while True:
        began = time.time()
        sock = connect(url)
        sock.sendall(request("GET", "/health", {}).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        while sock.recv(4096):
            pass
        sock.close()
        waits.append(time.time() - began)
        gevent.sleep(0.1)


def busy(facts: dict, who: dict, count: int, at_once: bool) -> list[dict]:
    run_ids = make_runs(count, who)
    readers = [Reader(run_id, facts, who) for run_id in run_ids]
    reading = [gevent.spawn(reader.read) for reader in readers]
    gevent.sleep(3)
    health: list[float] = []
    prober = gevent.spawn(probe, facts["url"], health)
    before = cpu(facts["pids"]["edge"])
    write(run_ids, at_once)
    gevent.joinall(reading, timeout=20)
    prober.kill()
    used = cpu(facts["pids"]["edge"]) - before
    whole = sum(reader.ended and reader.numbers == list(range(RATE * SECONDS)) for reader in readers)
    for reader in readers:
        reader.sock.close()
    waits = [wait for reader in readers for wait in reader.waits]
    what = f"{count} streams x {RATE}/s" + (", all in the same instant" if at_once else "")
    limits = ("", "", "") if at_once else ("all", "50 / 150 ms", "100 ms")
    return [
        row(
            what,
            "complete and in order",
            f"{whole} of {count}",
            f"edge CPU {100 * used / SECONDS:.0f} % of a core",
            limits[0],
        ),
        row(what, "delivery p50 / p99", ms(waits, 0.5, 0.99), "", limits[1]),
        row(what, "/health p50 / p99 meanwhile", ms(health, 0.5, 0.99), "", limits[2]),
    ]


def silent(facts: dict, who: dict, count: int) -> list[dict]:
    edge = psutil.Process(facts["pids"]["edge"][0])
    run_ids = make_runs(count, who)
    before = edge.memory_info().rss
    readers = []
    for run_id in run_ids:
        readers.append(Reader(run_id, facts, who))
        if len(readers) % 100 == 0:
            gevent.sleep(0.2)
    gevent.sleep(5)
    grown = edge.memory_info().rss - before
    started, span = cpu([edge.pid]), 6
    gevent.sleep(span)
    share = 100 * (cpu([edge.pid]) - started) / span
    chosen = random.sample(range(count), 20)
    for n in chosen:
        gevent.spawn(readers[n].read)
    write([run_ids[n] for n in chosen], True)
    gevent.sleep(1)
    answered = sum(readers[n].ended for n in chosen)
    return [
        row(
            f"{count} silent streams",
            "memory each; of 20 woken, complete",
            f"{grown / count / 1024:.1f} KB; {answered}",
            f"edge CPU {share:.1f} % of a core",
            "<= 40 KB",
        )
    ]


def main() -> None:
    facts = json.loads(sys.argv[1])
    who = sign_in(facts["url"])
    rows = busy(facts, who, 1000, False) + busy(facts, who, 1000, True) + silent(facts, who, 5000)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
