"""What others get while attackers send slowly, sit idle, send the largest bodies, or sign in all at once.

The limits are the defaults. The attackers come from another network than the user, and then from the same one.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
from dataclasses import dataclass  # noqa: E402

import gevent  # noqa: E402

from devstack.bench.report import Measure, Row, Target, ms, row  # noqa: E402
from devstack.bench.stream_clients import Probe  # noqa: E402
from devstack.bench.tools import Setup, print_rows, request, sign_in  # noqa: E402
from devstack.bench.usage import Meter  # noqa: E402

SECONDS, SETTLE = 12, 2
ELSEWHERE, SAME_NETWORK = "127.0.2.1", "127.0.0.2"  # the user comes from 127.0.0.1
ATTACKS = {  # kind: (title, target of p99 in ms)
    "slow_bodies": ("500 bodies at 1 byte/s", 100),
    "idle": ("1,000 idle connections", 100),
    "bodies": ("100 largest bodies/s", 100),
    "sign_ins": ("200 sign-ins at once, every 2.5 s", 300),
}


@dataclass
class Result:
    """Seconds per request by name, how many of the user's requests failed, and what the attackers were answered."""

    latencies: dict[str, list[float]]
    failed: int
    sent: int
    cpu: float  # of the edge, in % of a core
    attackers: str = ""


def probes(url: str, user: dict[str, str]) -> dict[str, Probe]:
    return {
        "/health": Probe(url),
        "GET /auth/me": Probe(url, request("GET", "/api/v1/auth/me", user)),
        "POST /chat, invalid": Probe(url, request("POST", "/api/v1/chat", user, b"{}")),
    }


def measure(setup: Setup, user: dict[str, str]) -> Result:
    sent, meter = probes(setup.url, user), Meter({"edge": setup.pids["edge"]})
    gevent.sleep(SECONDS - SETTLE)
    cpu = 100 * meter.used()["edge"] / (SECONDS - SETTLE)
    latencies = {name: probe.stop() for name, probe in sent.items()}
    statuses = [status for probe in sent.values() for status in probe.statuses]
    failed = sum(status not in ("200", "422") for status in statuses)
    return Result(latencies, failed, len(statuses), cpu)


def compare(kind: str, source: str, setup: Setup, user: dict[str, str]) -> tuple[Result, Result]:
    """The results while attackers of this kind come from `source`, and just before."""
    quiet = measure(setup, user)
    command = [sys.executable, "-m", "devstack.bench.attackers", kind, setup.url, source, str(SECONDS)]
    attackers = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    gevent.sleep(SETTLE)
    result = measure(setup, user)
    answers = json.loads(attackers.communicate()[0])
    result.attackers = ", ".join(f"{status or 'closed'}: {count}" for status, count in sorted(answers.items()))
    gevent.sleep(SETTLE)
    return result, quiet


def rows_of(scenario: str, loaded: Result, quiet: Result, limit: float | None) -> list[Row]:
    target = Target("<=", (limit,)) if limit else None
    rows = [
        row(scenario, f"{name}, p99", ms(latencies, 0.99), ms(quiet.latencies[name], 0.99, note="quiet"), target=target)
        for name, latencies in loaded.latencies.items()
    ]
    failed = [f"{result.failed} of {result.sent}" for result in (loaded, quiet)]
    cpu = [Measure((result.cpu,), "%") for result in (loaded, quiet)]
    rows += [row(scenario, "failed requests", *failed), row(scenario, "CPU of the edge, % of a core", *cpu)]
    return [*rows, row(scenario, "attackers' answers", loaded.attackers)]


def main() -> None:
    setup = Setup.from_arguments()
    user = sign_in(setup.url)
    measure(setup, user)  # warm up
    rows: list[Row] = []
    for kind, (title, limit) in ATTACKS.items():
        rows += rows_of(title, *compare(kind, ELSEWHERE, setup, user), limit)
    for kind, (title, _) in ATTACKS.items():
        rows += rows_of(f"{title}, same network", *compare(kind, SAME_NETWORK, setup, user), None)
    print_rows(rows)


if __name__ == "__main__":
    main()
