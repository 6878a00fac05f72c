"""The journal of a run: its finished model responses and tool calls, from which another worker goes on."""

UP = """
create table run_step (
    run_id uuid not null references run on delete cascade,
    scope varchar(255) not null default '',
    number integer not null,
    kind varchar(10) not null check (kind in ('response', 'tool')),
    name text,
    call_id text,
    input_digest varchar(64),
    output jsonb,
    usage jsonb,
    sequence bigint,
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    primary key (run_id, scope, number)
);
create index run_step_started on run_step using brin (started_at);
"""

DOWN = "drop table run_step"


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
