"""Telling thousands of subscribers of one incident: deliveries per second, beside a bare loop of the same sends; and with kills."""

import http.client
import json
import os
import smtplib
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from urllib.parse import urlsplit

from devstack.bench.fanout_rows import add_subscriptions, open_incident, states, wait_until_told
from devstack.bench.report import Measure, Row, row
from devstack.bench.tools import Setup, print_rows
from devstack.stack import ROOT, procfile

COUNT = int(os.environ.get("BENCH_FANOUT_SUBSCRIBERS", "10000"))  # half by mail, half by webhook
SLOW, SILENT = 3, 2  # hosts of HOSTS
HOSTS, KILLS, THREADS, CONNECTIONS = 100, 3, 48, 4


def measure(ports: list[int]) -> Iterator[Row]:
    receiver = [sys.executable, "-m", "devstack.bench.fanout_receiver", str(SLOW), str(SILENT), *map(str, ports)]
    receiving = subprocess.Popen(receiver, cwd=ROOT)
    worker = start_worker()
    try:
        silent = ports[SLOW : SLOW + SILENT]
        add_subscriptions(COUNT, ports)
        time.sleep(5)
        bare = bare_loop(ports)
        began = time.perf_counter()
        told = wait_until_told(open_incident(), silent)
        rate = Measure((told / (time.perf_counter() - began),), "/s")
        name = f"{COUNT:,} subscribers, {HOSTS} hosts, {SLOW} slow, {SILENT} silent"
        yield row(name, "deliveries", rate, bare, better="higher")
        update, before = open_incident(), ids(ports[-1])
        began = time.perf_counter()
        for number in range(1, KILLS + 1):
            wait_until_told(update, silent, share=number / (KILLS + 2))
            worker.kill()
            worker.wait()
            worker = start_worker()
        told = wait_until_told(update, silent)
        rate = Measure((told / (time.perf_counter() - began),), "/s")
        counts = [count for name, count in ids(ports[-1]).items() if name not in before]
        yield row(name, f"deliveries, with {KILLS} kills", rate, better="higher")
        yield row(name, "webhooks that came twice, with one id", str(sum(count > 1 for count in counts)))
        yield row(name, "webhooks that came / were due", f"{len(counts)} / {webhooks_due()}")
        yield row(name, "states of all deliveries", str(states(update)))
    finally:
        worker.kill()
        receiving.kill()


def webhooks_due() -> int:
    """Those to hosts that answer."""
    hosts = [number % HOSTS for number in range(COUNT // 2)]
    return sum(not SLOW <= host < SLOW + SILENT for host in hosts)


def start_worker() -> subprocess.Popen[bytes]:
    return subprocess.Popen(procfile()["worker-jobs"].split(), cwd=ROOT, stdout=subprocess.DEVNULL)


def ids(port: int) -> dict[str, int]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/")
    found: dict[str, int] = json.loads(connection.getresponse().read())
    return found


def bare_loop(ports: list[int]) -> Measure:
    """The same number of sends, to hosts that answer, by as many threads and connections, without a database."""
    good, half = ports[SLOW + SILENT :], COUNT // 2
    began = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as posts, ThreadPoolExecutor(CONNECTIONS) as mails:
        sent = [posts.submit(_post, good[number % len(good)], number) for number in range(half)]
        sent += [mails.submit(_mail, start, half) for start in range(CONNECTIONS)]
        for each in sent:
            each.result()
    return Measure((COUNT / (time.perf_counter() - began),), "/s")


def _post(port: int, number: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/", b"x" * 500, {"webhook-id": f"bare_{number}"})
    connection.getresponse()
    connection.close()


def _mail(start: int, count: int) -> None:
    url = urlsplit(os.environ["SMTP_URL"])
    with smtplib.SMTP(url.hostname or "", url.port or 25) as server:
        for number in range(start, count, CONNECTIONS):
            mail = EmailMessage()
            mail["From"], mail["To"], mail["Subject"] = "a@localhost", f"{number}@example.com", "x"
            mail.set_content("x" * 500)
            mail.add_alternative("<p>" + "x" * 2000, subtype="html")
            server.send_message(mail)


if __name__ == "__main__":
    print_rows(list(measure([int(text) for text in Setup.from_arguments().url.split(",")])))
