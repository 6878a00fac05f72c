"""Fan-outs: who is told of an update. Each subscription that matches gets a delivery, once; models.status.claims has them sent."""

import math
from datetime import datetime, timedelta
from uuid import UUID

from peewee import fn

from models.platform import audit
from models.platform.client_info import ClientInfo
from models.platform.clock import now
from models.platform.database import database, in_transaction
from models.platform.errors import RateLimited
from models.platform.locks import lock_for_next
from models.platform.principal import Principal
from models.status import metrics
from models.status.deliveries import EVERYBODY, RESEND, SLACK, UPDATE, Fanout, StatusDelivery
from models.status.incidents import CRITICAL, MAJOR, Incident, Update
from models.status.matching import matching
from models.status.slack_channels import channels_of
from models.status.subscriptions import StatusSubscription

BATCH = 1000
RETENTION_DAYS = 90  # of deliveries and fan-outs
PURGE = (
    """delete from status_delivery where id in (
        select id from status_delivery where created_at < now() - %(days)s * interval '1 day' limit 5000)""",
    """delete from status_fanout fanout where created_at < now() - %(days)s * interval '1 day'
        and not exists (select from status_delivery where fanout_id = fanout.id)""",
    "delete from status_host where updated_at < now() - interval '1 day'",
)
COOL_DOWN = timedelta(minutes=1)  # between two resends of an incident to the same people
MAKE = """
insert into status_delivery (id, fanout_id, update_id, subscription_id, tenant_id, channel, host)
select gen_random_uuid(), %(fanout_id)s, %(update_id)s, id, tenant_id, channel,
    case channel when 'email' then channel else host end
from status_subscription where id = any(%(ids)s) order by id -- as models.status.ending locks them
on conflict do nothing"""
FINISH = """
update status_fanout set finished_at = now() where id in (
    select id from status_fanout fanout where finished_at is null and handed_out_at is not null and not exists (
        select from status_delivery where fanout_id = fanout.id and state = 'pending') for update skip locked)"""
COUNTS = (
    "select fanout_id, state, count(*) from status_delivery where fanout_id = any(%(ids)s) group by fanout_id, state"
)


class ResentJustNow(RateLimited):
    code, message = "resent_just_now", "This incident was sent again to the same people a moment ago."


def severity_of(incident: Incident) -> str:
    """The severity of a fan-out that tells of an incident: critical ones pass the filters that major ones pass."""
    return MAJOR if incident.severity == CRITICAL else incident.severity


@in_transaction
def of_update(update_id: UUID) -> Fanout | None:
    """The fan-out that tells everybody of an update; there is never a second one. None if nobody is to be told of it."""
    update = Update.get_or_none(Update.id == update_id)
    if update is None or not update.notify:
        return None
    incident = Incident.get_by_id(update.incident_id)
    if incident.published_at is None:
        return None
    severity = severity_of(incident)
    made = Fanout.insert_if_new(update_id=update.id, severity=severity, scope=EVERYBODY, creator=update.creator)
    if made is not None:
        database.after_commit(metrics.FAN_OUTS.labels(UPDATE).inc)
    return made or Fanout.get((Fanout.update_id == update.id) & (Fanout.kind == UPDATE))


@in_transaction
def hand_out(fanout_id: UUID, limit: int = BATCH) -> bool:
    """Make the next deliveries of a fan-out, for `limit` subscriptions at most. Returns whether there may be more."""
    fanout = Fanout.lock(fanout_id)
    if fanout is None or fanout.handed_out_at is not None:
        return False
    incident = Incident.select().join(Update, on=(Update.incident_id == Incident.id))
    services = list(incident.where(Update.id == fanout.update_id).get().services)
    query = matching(fanout.severity, services, fanout.scope, fanout.tenant_id, fanout.position, limit)
    ids = [row.id for row in query.select(StatusSubscription.id)]
    values = {"fanout_id": fanout.id, "update_id": fanout.update_id, "ids": ids}
    made: int = database.execute_sql(MAKE, values).rowcount if ids else 0
    is_last = len(ids) < limit
    made += _to_slack(fanout) if is_last else 0
    last = ids[-1] if ids else None
    Fanout.update(
        position=last or fanout.position, total=Fanout.total + made, handed_out_at=now() if is_last else None
    ).where(Fanout.id == fanout.id).execute()
    return not is_last


@in_transaction
def resend(
    by: Principal, incident: Incident, severity: str, scope: str, tenant_id: UUID | None, client: ClientInfo
) -> Fanout:
    """A new fan-out of an incident's last update, with all its deliveries: `total` counts them. ResentJustNow.

    `severity`: a key of matching.FILTERS. Who calls it enqueues the job that has them sent.
    """
    lock_for_next("status_resend", incident.id, scope, tenant_id)
    before = _last_resend(incident, scope, tenant_id)
    if before is not None and (wait := before + COOL_DOWN - now()) > timedelta(0):
        raise ResentJustNow(retry_after=math.ceil(wait.total_seconds()))
    update = Update.select().where(Update.incident_id == incident.id).order_by(Update.id.desc()).get()
    fanout = Fanout.create(
        update_id=update.id, kind=RESEND, severity=severity, scope=scope, tenant_id=tenant_id, creator=by.subject[:64]
    )
    database.after_commit(metrics.FAN_OUTS.labels(RESEND).inc)
    while hand_out(fanout.id):
        pass
    fanout = Fanout.get_by_id(fanout.id)
    audit.record(
        "status_incident.resent",
        by,
        f"status_incident:{incident.id}",
        tenant_id=tenant_id,
        client=client,
        incident=incident.slug,
        severity=severity,
        scope=scope,
        fanout=str(fanout.id),
        dispatched=fanout.total,
    )
    return fanout


def _last_resend(incident: Incident, scope: str, tenant_id: UUID | None) -> datetime | None:
    rows = Fanout.select(fn.max(Fanout.created_at)).join(Update, on=(Update.id == Fanout.update_id))
    is_of = Fanout.tenant_id == tenant_id if tenant_id else Fanout.tenant_id.is_null()
    is_such = (Update.incident_id == incident.id) & (Fanout.kind == RESEND) & (Fanout.scope == scope) & is_of
    found: datetime | None = rows.where(is_such).scalar()
    return found


def _to_slack(fanout: Fanout) -> int:
    rows = [
        {
            "fanout_id": fanout.id,
            "update_id": fanout.update_id,
            "tenant_id": tenant_id,
            "channel": SLACK,
            "host": f"{SLACK}:{channel}",
            "target": channel,
        }
        for channel, tenant_id in channels_of(fanout.scope, fanout.tenant_id)
    ]
    for row in rows:
        StatusDelivery.create(**row)
    return len(rows)


def unfinished() -> list[UUID]:
    """The fan-outs that still have deliveries to make, and have had a minute for it: nobody may be at work on them."""
    query = "select id from status_fanout where handed_out_at is null and created_at < now() - interval '1 minute' order by id"
    return [row[0] for row in database.execute_sql(query).fetchall()]


def finish_done() -> int:
    """Write down which fan-outs have no delivery any more that waits. Returns how many."""
    return int(database.execute_sql(FINISH).rowcount)


def purge(days: int = RETENTION_DAYS) -> int:
    """Delete deliveries and fan-outs older than `days` days, and what is remembered of hosts. Returns how many, at most."""
    return sum(database.execute_sql(statement, {"days": days}).rowcount for statement in PURGE)


def counts(fanout_ids: list[UUID]) -> dict[UUID, dict[str, int]]:
    """How many deliveries of each of these fan-outs are in each state. States without any are left out."""
    found: dict[UUID, dict[str, int]] = {fanout_id: {} for fanout_id in fanout_ids}
    for fanout_id, state, count in database.execute_sql(COUNTS, {"ids": fanout_ids}).fetchall():
        found[fanout_id][state] = count
    return found
