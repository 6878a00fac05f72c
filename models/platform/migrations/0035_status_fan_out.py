"""Deliveries of status alerts: until when each is tried, and which hosts are put off as a whole."""

UP = """
alter table status_delivery add give_up_at timestamptz not null default now() + interval '1 day';
create index status_delivery_host on status_delivery (host, due_at, id) where state = 'pending';
create index status_delivery_claimed on status_delivery (host) where claim is not null;
create index status_delivery_open on status_delivery (fanout_id) where state = 'pending';
create index status_delivery_created on status_delivery (created_at);
create table status_host (
    host varchar(255) primary key, updated_at timestamptz not null default now(),
    failures integer not null default 0, -- in a row, without any answer
    put_off_until timestamptz -- nothing is sent there before
);
"""

DOWN = """
drop table status_host;
drop index status_delivery_host, status_delivery_claimed, status_delivery_open, status_delivery_created;
alter table status_delivery drop column give_up_at;
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
