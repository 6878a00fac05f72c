"""Runs and jobs that wait for a person, the approvals that they wait for, and the tools that a tenant wants approved."""

UP = """
alter table job drop constraint job_state_check, add constraint job_state_check
    check (state in ('queued', 'running', 'waiting', 'succeeded', 'dead', 'cancelled'));
create index job_suspended on job (id) where state = 'waiting';

alter table run add column waiting jsonb;
alter table run drop constraint run_state_check, add constraint run_state_check
    check (state in ('queued', 'running', 'waiting', 'succeeded', 'failed', 'cancelled'));
alter table run drop constraint run_check, add constraint run_check
    check ((state in ('queued', 'running', 'waiting')) = (terminal is null));
drop index run_one_active;
create unique index run_one_active on run (conversation_id) where state in ('queued', 'running', 'waiting');

create table approval (
    id uuid primary key, created_at timestamptz not null default now(),
    tenant_id uuid not null references tenant on delete cascade, user_id uuid references users on delete cascade,
    run_id uuid not null references run on delete cascade, job_id uuid not null,
    scope varchar(255) not null, number integer not null, call_id text not null, tool_name text not null,
    arguments jsonb not null, parameters jsonb, digest varchar(64) not null,
    reason varchar(16) not null check (reason in ('tool', 'mcp', 'cut')),
    needs_admin boolean not null,
    state varchar(16) not null check (state in ('pending', 'approved', 'denied', 'expired', 'cancelled')),
    expires_at timestamptz not null, decided_by uuid, decided_at timestamptz, note text, edited jsonb
);
create index approval_run on approval (run_id);
create index approval_job on approval (job_id);
-- a call is asked about once at a time, and again if it was cut in the middle after it was approved
create unique index approval_open_step on approval (run_id, scope, number) where state = 'pending';
create index approval_open on approval (tenant_id, id desc) where state = 'pending';
create index approval_decided on approval (decided_at) where decided_at is not null;
create index approval_due on approval (expires_at) where state = 'pending';

create table tenant_tool_policy (
    tenant_id uuid not null references tenant on delete cascade, tool_name varchar(255) not null,
    rule varchar(16) not null check (rule in ('always', 'admin')), primary key (tenant_id, tool_name)
);
"""

# What waits is cancelled: the code before this migration does not know the state.
DOWN = """
drop table tenant_tool_policy, approval;
update run set state = 'cancelled', finished_at = now(), error_code = 'cancelled', error_message = 'The run was cancelled.',
    terminal_sequence = coalesce((waiting->>'sequence_number')::bigint, 0) + 1,
    terminal = coalesce(waiting, '{"kind": "lifecycle"}') || jsonb_build_object('event', 'cancelled', 'is_terminal', true,
        'sequence_number', coalesce((waiting->>'sequence_number')::bigint, 0) + 1,
        'payload', jsonb_build_object('reason', 'The run was cancelled.'))
where state = 'waiting';
update job set state = 'cancelled', cancel_requested = true, finished_at = now() where state = 'waiting';
drop index run_one_active;
create unique index run_one_active on run (conversation_id) where state in ('queued', 'running');
alter table run drop constraint run_check, add constraint run_check
    check ((state in ('queued', 'running')) = (terminal is null));
alter table run drop constraint run_state_check, add constraint run_state_check
    check (state in ('queued', 'running', 'succeeded', 'failed', 'cancelled'));
alter table run drop column waiting;
drop index job_suspended;
alter table job drop constraint job_state_check, add constraint job_state_check
    check (state in ('queued', 'running', 'succeeded', 'dead', 'cancelled'));
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
