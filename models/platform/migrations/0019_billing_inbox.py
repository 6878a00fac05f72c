"""The events of one object of Stripe, those received last, which is due first, and how old what we know of a customer is."""

UP = """
create index inbox_event_received on inbox_event (received_at desc, id desc);
drop index inbox_event_due;
create index inbox_event_due on inbox_event (due_at, id) where due_at is not null; -- a replay makes thousands due at one time
create index inbox_event_object on inbox_event (object_id, occurred_at) where object_id is not null;
alter table billing_customer add as_of timestamptz, add rank smallint, add event_id varchar(255);
"""

DOWN = """
alter table billing_customer drop as_of, drop rank, drop event_id;
drop index inbox_event_object, inbox_event_received, inbox_event_due;
create index inbox_event_due on inbox_event (due_at) where due_at is not null;
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
