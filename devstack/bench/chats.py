"""Many chats at once, 20 deltas 20 ms apart."""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

import gevent  # noqa: E402

from devstack.bench.tools import connect, cpu, ms, request, row, sign_in  # noqa: E402

BODY = json.dumps({"message": "[[deltas=20 delay=20ms]] Tell me"}).encode()


def chat(url: str, headers: dict, results: list) -> None:
    began, first, seen = time.perf_counter(), None, b""
    sock = connect(url)
    sock.sendall(request("POST", "/api/v1/chat/stream", headers, BODY))
    while b'"is_terminal":true' not in seen[-4000:]:
        part = sock.recv(65536)
        if not part:
            break
        seen += part
        if not seen.startswith(b"HTTP/1.1 200"):
            break
        if first is None and b'"text_delta":"' in seen:
            first = time.perf_counter() - began
    sock.close()
    whole = seen.count(b'"text_delta":"') == 20 and b'"kind":"error"' not in seen
    results.append((first, time.perf_counter() - began, whole))


def burst(count: int, facts: dict, headers: dict, spread: float = 0.0) -> list[dict]:
    servers = {name: facts["pids"][name] for name in ("edge", "worker-agents")}
    before = {name: cpu(pids) for name, pids in servers.items()}
    results: list = []
    began = time.perf_counter()
    chats = [gevent.spawn_later(n * spread / count, chat, facts["url"], headers, results) for n in range(count)]
    gevent.joinall(chats, timeout=60)
    wall = time.perf_counter() - began
    used = {name: 1000 * (cpu(pids) - before[name]) / count for name, pids in servers.items()}
    firsts = [first for first, _, _ in results if first is not None]
    whole = sum(ok for _, _, ok in results)
    what = f"{count} chats at once" if not spread else f"{count} chats over {spread:g} s"
    return [
        row(what, "first text p50 / p99", ms(firsts, 0.5, 0.99), "", "150 ms" if count == 100 else ""),
        row(what, "chats/s; complete", f"{count / wall:.1f}; {whole} of {count}", "", ">= 36" if count == 100 else ""),
        row(what, "CPU per chat", ", ".join(f"{name} {value:.1f} ms" for name, value in used.items())),
    ]


def main() -> None:
    facts = json.loads(sys.argv[1])
    headers = sign_in(facts["url"])
    burst(100, facts, headers)  # a service that has been running: connections are open
    rows = burst(100, facts, headers) + burst(100, facts, headers, 2.5) + burst(200, facts, headers)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
