"""The events of one object of Stripe, and how old what we know of a customer is."""

UP = """
create index inbox_event_object on inbox_event (object_id, occurred_at) where object_id is not null;
alter table billing_customer add as_of timestamptz, add rank smallint, add event_id varchar(255);
"""

DOWN = """
alter table billing_customer drop as_of, drop rank, drop event_id;
drop index inbox_event_object;
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
