"""The events of a tenant's billing, as the relay streams them: Redis says what is new, Postgres has whatever was missed.

Numbers have no gap, so a client that gets a number too high has missed something, whatever the reason.
"""

import logging
from uuid import UUID

import gevent
import peewee
from playhouse.pool import MaxConnectionsExceeded

from edge import topics
from edge.hub import Hub
from edge.hub import hub as process_hub
from edge.relay import Batches
from models.billing import events
from models.platform.database import release
from models.platform.json import encode
from models.runs.progress import Entry

log = logging.getLogger(__name__)
BATCH = 200  # events in one read from Postgres
RETRY_SECONDS = 3.0  # after Postgres was away
NEWEST = 20  # events that a client gets which names no number
AWAY = (peewee.OperationalError, peewee.InterfaceError, MaxConnectionsExceeded)


def beginning(tenant_id: UUID, after: int | None) -> tuple[int, int]:
    """(number after which a client gets events, number of the newest event). `after`: the last that it says it has.

    One that the tenant has not reached counts as the newest.
    """
    newest, before_newest = events.newest(tenant_id, NEWEST)
    return before_newest if after is None else min(after, newest), newest


def batches(tenant_id: UUID, cursor: int, newest: int, hub: Hub = process_hub) -> Batches:
    """The tenant's events after `cursor`, without end. An empty batch is a heartbeat.

    `newest`: the number of an event that is committed. What comes up to it is read from Postgres.
    """
    client = hub.join(topics.of_billing(tenant_id), newest)
    client.cursor = cursor
    if cursor < newest:
        client.read_again()
    try:
        while True:
            if client.must_read:
                client.must_read, client.entries = False, []  # before the read, so that nothing is lost meanwhile
                batch = _read(tenant_id, client.cursor)
                if batch is None:
                    gevent.sleep(RETRY_SECONDS)
                client.must_read = client.must_read or batch is None or len(batch) == BATCH
                fresh = batch or []
            else:
                fresh = [entry for entry in client.take() if entry.sequence > client.cursor]
                if client.must_read or (fresh and fresh[-1].sequence != client.cursor + len(fresh)):
                    client.must_read = True
                    continue
            if fresh:
                client.cursor = fresh[-1].sequence
            yield fresh
    finally:
        hub.leave(client)


def _read(tenant_id: UUID, cursor: int) -> list[Entry] | None:
    """The next events from Postgres; None while it is away."""
    try:
        rows = events.after(tenant_id, cursor, BATCH)
    except AWAY as error:
        log.warning("relay.database_away", extra={"reason": repr(error)})
        return None
    finally:
        release()
    return [
        Entry(position, event_type.encode(), encode(events.as_sent(position, event)), False)
        for position, event_type, event in rows
    ]
