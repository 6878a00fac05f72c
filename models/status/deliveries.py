"""A fan-out tells all subscribers of one update. Each of them has a delivery, which is sent, and tried again, on its own."""

from datetime import datetime, timedelta

from peewee import CharField, IntegerField, TextField, UUIDField

from models.platform.authorization import STATUS_SUBSCRIPTION_MANAGE
from models.platform.clock import now
from models.platform.model import DateTimeTZField, Model, TenantModel

UPDATE, RESEND = "update", "resend"  # kinds of fan-outs
EVERYBODY, PUBLIC, TENANT = "everybody", "public", "tenant"  # their scopes
SLACK = "slack"  # a channel, beside those of subscriptions
PENDING, DELIVERED, GIVEN_UP, SKIPPED = "pending", "delivered", "given_up", "skipped"
LONGEST = timedelta(days=1)  # that a delivery is tried again


def give_up_time() -> datetime:
    return now() + LONGEST


class Fanout(Model):
    """`severity`: whose filters it passes. `position`: the last subscription that has its delivery already."""

    update_id = UUIDField()
    kind = CharField(default=UPDATE)
    severity = CharField()
    scope = CharField(default=EVERYBODY)
    tenant_id = UUIDField(null=True)
    creator = CharField()
    position = UUIDField(null=True)
    total = IntegerField(default=0)
    handed_out_at = DateTimeTZField(null=True)
    finished_at = DateTimeTZField(null=True)

    class Meta:
        table_name = "status_fanout"


class StatusDelivery(TenantModel):
    """`host`: what is slow together. `claim`, `claimed_until`: by whom it is being sent, and until when nobody else does.

    `attempts` counts those that were begun. `give_up_at`: when it is not tried any more.
    """

    owner, reading = None, STATUS_SUBSCRIPTION_MANAGE
    tenant_id = UUIDField(null=True)  # type: ignore[assignment]  # null: of the public
    fanout_id = UUIDField()
    update_id = UUIDField()
    subscription_id = UUIDField(null=True)
    channel = CharField()
    host = CharField()
    target = CharField(default="")
    state = CharField(default=PENDING)
    attempts = IntegerField(default=0)
    due_at = DateTimeTZField(default=now)
    give_up_at = DateTimeTZField(default=give_up_time)
    claimed_until = DateTimeTZField(null=True)
    claim = UUIDField(null=True)
    status_code = IntegerField(null=True)
    error = TextField(null=True)
    finished_at = DateTimeTZField(null=True)
