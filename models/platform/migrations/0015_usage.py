"""What runs have used, and the limits of plans."""

UP = """
create table usage_record (
    id uuid primary key, created_at timestamptz not null default now(),
    tenant_id uuid not null references tenant on delete cascade,
    run_id uuid not null, -- no reference: what was used stays counted when its conversation is deleted
    feature varchar(64) not null, quantity bigint not null check (quantity > 0),
    unique (run_id, feature)
);
create index usage_record_window on usage_record (tenant_id, feature, created_at) include (quantity);
create table plan_limit (
    plan_code varchar(64) not null references plan on delete cascade, feature varchar(64) not null,
    unit varchar(32) not null, soft_limit bigint check (soft_limit >= 0), hard_limit bigint check (hard_limit >= 0),
    primary key (plan_code, feature)
);
alter table plan add jobs_at_once integer check (jobs_at_once > 0); -- with the workers of a queue; null: TENANT_JOBS_AT_ONCE
"""

DOWN = "drop table plan_limit, usage_record; alter table plan drop jobs_at_once"


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
