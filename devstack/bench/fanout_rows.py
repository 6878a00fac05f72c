"""The rows in the database of the benchmark `fanout`."""

import time
from uuid import UUID

from models.platform.clock import now
from models.platform.database import database, transaction
from models.status import signing
from models.status.incidents import Incident, Update
from models.status.subscriptions import EMAIL, WEBHOOK, StatusSubscription, stored
from workers.jobs import STATUS_FAN_OUT, enqueue

BATCH = 500
TOLD = """
select count(*) filter (where state <> 'pending'), count(*) from status_delivery
where update_id = %s and not host = any(%s)"""


def add_subscriptions(count: int, ports: list[int]) -> None:
    """Half by mail, half by webhooks, which are spread over the ports."""
    secret = signing.columns(signing.new_secret())
    rows = []
    for number in range(count):
        is_mail, port = number < count // 2, ports[number % len(ports)]
        channel, host = (EMAIL, "") if is_mail else (WEBHOOK, f"127.0.0.1:{port}")
        target = f"{number}@example.com" if is_mail else f"http://{host}/{number}"
        row = {"channel": channel, "host": host, "target_masked": "-", "severity_filter": "all", "status": "active"}
        rows.append(row | {"creator": "bench"} | stored(channel, target) | ({} if is_mail else secret))
    for half in (rows[: count // 2], rows[count // 2 :]):
        for start in range(0, len(half), BATCH):
            StatusSubscription.insert_many(half[start : start + BATCH]).execute()


def open_incident() -> UUID:
    """An incident, of which everybody is told. Returns the id of its update."""
    with transaction():
        slug = f"bench-{Incident.select().count()}"
        incident = Incident.create(title="A test", impact="None.", slug=slug, published_at=now())
        update = Update.create(incident_id=incident.id, state=incident.state, text="A test.", creator="bench")
        enqueue(STATUS_FAN_OUT, update_id=str(update.id))
    found: UUID = update.id
    return found


def wait_until_told(update_id: UUID, silent: list[int], share: float = 1.0, seconds: float = 420) -> int:
    """Wait until this share of the deliveries has ended, but for those to silent hosts. Returns how many these are."""
    hosts, until = [f"127.0.0.1:{port}" for port in silent], time.monotonic() + seconds
    expected = StatusSubscription.select().where(StatusSubscription.host.not_in(hosts)).count()
    while time.monotonic() < until:
        told, _ = database.execute_sql(TOLD, (update_id, hosts)).fetchone()
        if told >= share * expected:
            return int(told)
        time.sleep(0.2)
    raise SystemExit(f"only {told} of {expected} were told")


def states(update_id: UUID) -> dict[str, int]:
    query = "select state, count(*) from status_delivery where update_id = %s group by state"
    return dict(database.execute_sql(query, (update_id,)).fetchall())
