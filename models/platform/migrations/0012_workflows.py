"""The steps of workflow runs."""

UP = """
create table workflow_step (
    id uuid primary key, created_at timestamptz not null default now(),
    run_id uuid not null references run on delete cascade, job_id uuid, sequence integer not null,
    stage integer not null, stage_name varchar(64) not null, branch integer, name varchar(64) not null,
    agent varchar(64) not null,
    state varchar(16) not null check (state in ('pending', 'running', 'succeeded', 'failed', 'skipped')),
    input jsonb, output_text text, output_structured jsonb, response_id varchar(255), usage jsonb,
    error_code varchar(64), error_message text, started_at timestamptz, finished_at timestamptz,
    unique (run_id, sequence)
);
create index run_workflow on run (tenant_id, created_at desc, id desc) where kind = 'workflow';
create index run_workflow_of_user on run (tenant_id, user_id, created_at desc, id desc) where kind = 'workflow';
"""

DOWN = """
drop index run_workflow_of_user;
drop index run_workflow;
drop table workflow_step;
delete from run where kind = 'workflow';
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
