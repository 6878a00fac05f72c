"""Probes of services: what they have found, and asked now."""

import argparse

from models.commands import CommandFailed
from models.platform.clock import iso, now
from models.platform.database import database, transaction
from models.platform.settings import settings
from models.status import checks, history
from models.status.history import FAILED, Check
from models.status.incidents import Incident
from models.status.services import Service, services
from models.status.verdicts import was_taken_over
from workers.jobs import STATUS_PROBE, enqueue
from workers.status.probing import Outcome, ask

HELP = "Show what the probes of the services have found, or probe them now."


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|run")
    actions.add_parser("list", help="the last result, the uptime of 90 days, and the open incident of each service")
    run_now = actions.add_parser("run", help="probe now; exit status 1 if a service does not work")
    run_now.add_argument("service", nargs="*", help="only these; default: all that have a probe")
    run_now.add_argument(
        "--by-workers",
        action="store_true",
        help="have a worker do it, as each minute: for all services, and what it finds has consequences",
    )


def run(args: argparse.Namespace) -> int:
    with database.connection_context():
        if args.action == "list":
            return _list()
        return _send(args.service) if args.by_workers else _run(args.service)


def _list() -> int:
    latest, days = history.latest(services()), history.days(services())
    for key, service in services().items():
        uptime = history.uptime_of(days[key])
        percent = "unknown" if uptime is None else f"{uptime:.3f} %"
        print(f"{key:16}  {percent:>9}  {_last(service, latest.get(key))}{_incident(key)}")
    return 0


def _last(service: Service, last: Check | None) -> str:
    if service.probe is None:
        return "no probe"
    if last is None:
        return "never probed"
    streak = checks.streak(service.key, now())
    count = streak.failures or streak.successes
    row = f"{count} in a row" if count else "not probed since"
    reason = f"  {last.reason}" if last.reason else ""
    return f"{last.state:11}  {iso(last.at)[:16]}Z  {row}{reason}"


def _incident(key: str) -> str:
    incident = Incident.open_of_probe(key)
    if incident is None:
        return ""
    kind = "incident" if incident.published_at else "draft"
    return f"  {kind} {incident.slug}" + (", which an operator has taken over" if was_taken_over(incident) else "")


def _run(keys: list[str]) -> int:
    outcomes = list(ask(_named(keys), settings.status_probe_timeout_seconds))
    order = list(services())
    for outcome in sorted(outcomes, key=lambda each: order.index(each.service.key)):
        print(_line(outcome))
    return int(any(outcome.result == FAILED for outcome in outcomes))


def _named(keys: list[str]) -> list[Service]:
    probed = {key: service for key, service in services().items() if service.probe}
    for key in keys:
        if key not in probed:
            raise CommandFailed(f"There is no service {key!r} with a probe. There are: {', '.join(probed)}.")
    return [probed[key] for key in dict.fromkeys(keys or probed)]


def _line(outcome: Outcome) -> str:
    result = outcome.result or "not configured"
    return f"{outcome.service.key:16}  {result:14}  {outcome.seconds * 1000:7.0f} ms  {outcome.reason or ''}".rstrip()


def _send(keys: list[str]) -> int:
    if keys:
        raise CommandFailed("Workers probe all services: name none.")
    with transaction():
        enqueue(STATUS_PROBE)
    print("Workers will probe the services that nobody has probed in this minute.")
    return 0
