"""Fan-outs: who is told of an update. Each subscription that matches gets a delivery, once; models.status.claims has them sent."""

from uuid import UUID

from models.platform.clock import now
from models.platform.database import database, in_transaction
from models.status.deliveries import EVERYBODY, SLACK, UPDATE, Fanout, StatusDelivery
from models.status.incidents import CRITICAL, MAINTENANCE, MAJOR, MINOR, Incident, Update
from models.status.slack_channels import channels_of
from models.status.subscriptions import ALL

BATCH = 1000
# Of a fan-out's severity: the filters that let it pass. That of a resend is chosen by its caller, who may ask for ALL.
FILTERS = {
    ALL: [ALL, MAJOR, MAINTENANCE],
    MAJOR: [ALL, MAJOR],
    MINOR: [ALL],
    MAINTENANCE: [ALL, MAINTENANCE],
}
HAND_OUT = """
with chosen as (
    select id, tenant_id, channel, host from status_subscription
    where status = 'active' and severity_filter = any(%(filters)s)
        and (%(services)s = '{}'::text[] or components = '[]' or components ?| %(services)s)
        and (%(scope)s = 'everybody' or tenant_id is not distinct from %(tenant_id)s)
        and (%(position)s::uuid is null or id > %(position)s::uuid)
    order by id limit %(limit)s
), made as (
    insert into status_delivery (id, fanout_id, update_id, subscription_id, tenant_id, channel, host)
    select gen_random_uuid(), %(fanout_id)s, %(update_id)s, id, tenant_id, channel,
        case channel when 'email' then channel else host end
    from chosen on conflict do nothing returning id
)
select (select count(*) from chosen), (select count(*) from made), (select id from chosen order by id desc limit 1)"""
# The locks order what ends a fan-out and what opens it again.
FINISH = """
update status_fanout set finished_at = now() where id in (
    select id from status_fanout fanout where finished_at is null and handed_out_at is not null and not exists (
        select from status_delivery where fanout_id = fanout.id and state = 'pending') for update skip locked)"""
COUNTS = (
    "select fanout_id, state, count(*) from status_delivery where fanout_id = any(%(ids)s) group by fanout_id, state"
)


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
    return made or Fanout.get((Fanout.update_id == update.id) & (Fanout.kind == UPDATE))


@in_transaction
def hand_out(fanout_id: UUID, limit: int = BATCH) -> bool:
    """Make the next deliveries of a fan-out, for `limit` subscriptions at most. Returns whether there may be more."""
    fanout = Fanout.lock(fanout_id)
    if fanout is None or fanout.handed_out_at is not None:
        return False
    incident = Incident.select().join(Update, on=(Update.incident_id == Incident.id))
    values = {
        "filters": FILTERS[fanout.severity],
        "services": list(incident.where(Update.id == fanout.update_id).get().services),
        "scope": fanout.scope,
        "tenant_id": fanout.tenant_id,
        "position": fanout.position,
        "limit": limit,
        "fanout_id": fanout.id,
        "update_id": fanout.update_id,
    }
    chosen, made, last = database.execute_sql(HAND_OUT, values).fetchone()
    is_last = chosen < limit
    made += _to_slack(fanout) if is_last else 0
    Fanout.update(
        position=last or fanout.position, total=Fanout.total + made, handed_out_at=now() if is_last else None
    ).where(Fanout.id == fanout.id).execute()
    return not is_last


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


def counts(fanout_ids: list[UUID]) -> dict[UUID, dict[str, int]]:
    """How many deliveries of each of these fan-outs are in each state. States without any are left out."""
    found: dict[UUID, dict[str, int]] = {fanout_id: {} for fanout_id in fanout_ids}
    for fanout_id, state, count in database.execute_sql(COUNTS, {"ids": fanout_ids}).fetchall():
        found[fanout_id][state] = count
    return found
