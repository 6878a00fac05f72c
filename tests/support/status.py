"""Incidents, subscriptions and fan-outs for tests of status alerts."""

from models.platform.clock import now

SECRET = "5f" * 32


def subscribe(target, *, tenant=None, severity="all", components=(), status="active", secret=SECRET, **columns):
    """A subscription of this address or URL, as those have it who have confirmed theirs."""
    from models.status import signing
    from models.status.subscriptions import StatusSubscription, stored

    channel = "email" if "@" in target and "://" not in target else "webhook"
    host = "" if channel == "email" else target.split("/")[2]
    return StatusSubscription.create(
        tenant_id=tenant and tenant.id,
        channel=channel,
        **stored(channel, target),
        target_masked="…",
        host=host,
        severity_filter=severity,
        components=list(components),
        status=status,
        creator="public",
        verified_at=now(),
        **(signing.columns(secret) if channel == "webhook" else {}),
        **columns,
    )


def incident(*, services=None, published=True, notify=True, **columns):
    """(an incident, its first update)"""
    from models.status.incidents import Incident

    known = {"title": "API is slow", "impact": "Requests take long.", "slug": f"api-{Incident.select().count()}"}
    services = {"api": "degraded"} if services is None else services
    row = Incident.create(**(known | {"services": services, "published_at": now() if published else None} | columns))
    return row, update(row, notify=notify)


def update(row, text="We are looking into it.", *, state=None, notify=True):
    from models.status.incidents import Update

    state = state or row.state
    return Update.create(incident_id=row.id, state=state, text=text, creator="user:1", notify=notify)


def fan_out(row):
    """Have all told of an update, as the workers do. Returns how many jobs that took."""
    from models.platform.database import transaction
    from workers.jobs import STATUS_FAN_OUT, enqueue

    with transaction():
        enqueue(STATUS_FAN_OUT, update_id=str(row.id))
    return work()


def give_all_up(row):
    """Have deliveries made of an update, and given up; nothing is sent."""
    from models.platform.database import transaction
    from models.status.deliveries import StatusDelivery
    from tests.support.jobs import do
    from workers.jobs import STATUS_FAN_OUT, enqueue
    from workers.status import fan_out

    with transaction():
        enqueue(STATUS_FAN_OUT, update_id=str(row.id))
    do({"status.fan_out": fan_out.fan_out})
    StatusDelivery.update(state="given_up", attempts=9).execute()


def work():
    """Do the jobs of fan-outs, those also that follow."""
    from models.jobs.ledger import Job
    from tests.support.jobs import do
    from workers.status import deliver, fan_out

    actors = {
        "status.fan_out": fan_out.fan_out,
        "status.deliver": deliver.deliver,
        "status.tend": fan_out.tend,
    }
    count = 0
    while done := do(actors):
        count += done
    assert not [(job.name, job.error) for job in Job.select().where(Job.state != "succeeded")]
    return count


def deliveries(**columns):
    from models.status.deliveries import StatusDelivery

    return list(StatusDelivery.filter(**columns).order_by(StatusDelivery.id))


def later():
    """What is to be tried later is tried now, whatever hosts have done; as the scheduler has it done."""
    from models.platform.database import database, transaction
    from workers.jobs import STATUS_TEND, enqueue

    database.execute_sql("delete from status_host")
    is_due = "due_at = now(), claim = null, claimed_until = null"
    database.execute_sql(f"update status_delivery set {is_due} where state = 'pending'")
    with transaction():
        enqueue(STATUS_TEND)
    return work()
