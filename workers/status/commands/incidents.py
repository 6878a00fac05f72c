"""Incidents and maintenance, from a shell."""

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from models.commands import CommandFailed, actor
from models.platform.clock import iso
from models.platform.database import database, transaction
from models.status import incident_changes as changes
from models.status import published
from models.status.incidents import INCIDENT, MAINTENANCE, SEVERITIES, STATES, Incident, Update
from workers.jobs import STATUS_FAN_OUT, enqueue

HELP = "List, open, update, publish and correct incidents and maintenance."
EVERY_STATE = [state for states in STATES.values() for state in states]


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="list|show|open|plan|update|publish|change|discard"
    )
    listing = actions.add_parser("list", help="the newest first, drafts too")
    listing.add_argument("--drafts", action="store_true", help="drafts only")
    listing.add_argument("--open", action="store_true", help="what goes on only")
    listing.add_argument("--limit", type=int, default=50)
    _named(actions, "show", "one with its updates")
    opening = actions.add_parser("open", help="open an incident")
    opening.add_argument("--severity", choices=SEVERITIES[INCIDENT])
    opening.add_argument("--is", dest="state", choices=STATES[INCIDENT][:-1], help="default: investigating")
    planning = actions.add_parser("plan", help="plan maintenance, which starts and ends by itself")
    planning.add_argument("--from", dest="starts_at", type=_time, help="such as 2026-03-01T22:00Z; default: now")
    planning.add_argument("--until", type=_time, required=True)
    for parser_of in (opening, planning):
        parser_of.add_argument("--title", required=True)
        parser_of.add_argument("--impact", required=True, help="what people notice")
        parser_of.add_argument("--text", required=True, help="the first update")
        parser_of.add_argument("--draft", action="store_true", help="only operators see it until it is published")
        _affected(parser_of, required=True)
        _quiet(parser_of)
    update = _named(actions, "update", "tell how it goes on")
    update.add_argument("--text", required=True)
    update.add_argument("--is", dest="state", choices=EVERY_STATE, help="default: as it is")
    update.add_argument("--severity", choices=SEVERITIES[INCIDENT])
    update.add_argument("--until", type=_time)
    _affected(update)
    _quiet(update)
    _quiet(_named(actions, "publish", "show a draft to everybody"))
    change = _named(actions, "change", "correct what is said of it; nobody is told")
    for name in ("--title", "--impact"):
        change.add_argument(name)
    change.add_argument("--severity", choices=SEVERITIES[INCIDENT])
    change.add_argument("--from", dest="starts_at", type=_time)
    change.add_argument("--until", type=_time)
    _affected(change)
    _named(actions, "discard", "delete a draft")


def _named(actions: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text)
    parser.add_argument("incident", help="its id, such as api-slow-answers-2026-03-01")
    return parser


def _affected(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    text = "the key of an affected service, or KEY=degraded, KEY=incident; repeatable"
    parser.add_argument("--service", dest="services", action="append", required=required, help=text)


def _quiet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="subscribers are not told")


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def run(args: argparse.Namespace) -> int:
    with database.connection_context():
        if args.action == "list":
            return _list(args)
        with transaction():
            incident = _act(args)
        if incident is not None:
            _show(incident, is_short=args.action != "show")
        return 0


def _list(args: argparse.Namespace) -> int:
    if args.limit < 1:
        raise CommandFailed("--limit is a positive number.")
    page = Incident.page(is_draft=True if args.drafts else None, is_open=True if args.open else None, limit=args.limit)
    for each in page.items:
        print(_line(each))
    return 0


def _act(args: argparse.Namespace) -> Incident | None:
    if args.action in ("open", "plan"):
        return _open(args)
    incident = Incident.by_slug(args.incident)
    match args.action:
        case "update":
            given = _given(args, "text", "state", "severity", "until", "services")
            _tell(changes.add_update(actor(), incident.id, notify=not args.quiet, **given))
        case "publish":
            _tell(changes.publish(actor(), incident.id, notify=not args.quiet))
        case "change":
            given = _given(args, "title", "impact", "severity", "starts_at", "until", "services")
            changes.change(actor(), incident.id, **given)
        case "discard":
            changes.discard(actor(), incident.id)
            print("Discarded.")
            return None
    return Incident.by_slug(args.incident)


def _open(args: argparse.Namespace) -> Incident:
    names = ("title", "impact", "text", "severity", "state", "starts_at", "until", "services")
    incident, update = changes.open_incident(
        actor(),
        kind=MAINTENANCE if args.action == "plan" else INCIDENT,
        publish=not args.draft,
        notify=not args.quiet,
        **_given(args, *names),
    )
    _tell(update)
    return incident


def _given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(args, name, None) for name in names}
    if values.get("services") is not None:
        values["services"] = _effects(values["services"])
    return values


def _effects(texts: Sequence[str]) -> dict[str, str | None]:
    parts = [text.partition("=") for text in texts]
    return {key: effect or None for key, _, effect in parts}


def _tell(update: Update) -> None:
    if update.notify:
        enqueue(STATUS_FAN_OUT, update_id=str(update.id))


def _show(incident: Incident, *, is_short: bool) -> None:
    print(_line(incident))
    if not is_short:
        print(f"  {incident.impact}")
        for update in published.views([incident])[0].updates:
            print(f"  {iso(update.created_at)[:16]}Z  {update.state}: {update.text}")


def _line(incident: Incident) -> str:
    is_draft = "draft  " if incident.published_at is None else ""
    affected = ", ".join(f"{key}={effect}" for key, effect in incident.services.items())
    return f"{incident.slug}  {iso(incident.starts_at)[:16]}Z  {is_draft}{incident.state}  {incident.severity}  {affected}  {incident.title}"
