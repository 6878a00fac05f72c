"""Jobs that wait for their tenant's turn, and tenants that have a larger or smaller share than the others."""

UP = """
alter table job alter sent_at drop not null;
create index job_waiting_in_lane on job (queue, tenant_id, id) where state = 'queued' and sent_at is null;
create table tenant_share (
    tenant_id uuid primary key references tenant on delete cascade, jobs_at_once integer not null check (jobs_at_once > 0)
);
"""

DOWN = """
drop table tenant_share;
drop index job_waiting_in_lane;
update job set sent_at = due_at where sent_at is null;
alter table job alter sent_at set not null;
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
