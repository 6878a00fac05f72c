"""Accounts for sign-in, conversations, runs, and the job ledger."""

UP = """
create table tenant (
    id uuid primary key, created_at timestamptz not null default now(),
    slug varchar(63) not null unique, name varchar(255) not null
);
create table users (
    id uuid primary key, created_at timestamptz not null default now(),
    email varchar(254) not null, password_hash text not null,
    status varchar(16) not null default 'active' check (status in ('pending', 'active', 'locked', 'disabled')),
    display_name varchar(255), email_verified_at timestamptz
);
create unique index users_email on users (lower(email));
create table membership (
    id uuid primary key, created_at timestamptz not null default now(),
    user_id uuid not null references users on delete cascade, tenant_id uuid not null references tenant on delete cascade,
    role varchar(16) not null, unique (user_id, tenant_id)
);
create index membership_tenant on membership (tenant_id);
create table session (
    id uuid primary key, created_at timestamptz not null default now(),
    user_id uuid not null references users on delete cascade, tenant_id uuid not null references tenant on delete cascade,
    user_agent varchar(512), last_seen_at timestamptz not null default now(),
    revoked_at timestamptz, revoked_reason varchar(64)
);
create index session_of_user on session (user_id);
create table refresh_token (
    id uuid primary key, created_at timestamptz not null default now(),
    session_id uuid not null references session on delete cascade, user_id uuid not null references users on delete cascade,
    token_hash varchar(64) not null, expires_at timestamptz not null, revoked_at timestamptz, revoked_reason varchar(64)
);
create index refresh_token_session on refresh_token (session_id);

create table conversation (
    id uuid primary key, created_at timestamptz not null default now(),
    tenant_id uuid not null references tenant on delete cascade, user_id uuid references users on delete set null,
    key varchar(255) not null, entry_agent varchar(64) not null, active_agent varchar(64),
    message_count integer not null default 0, event_count integer not null default 0, last_message text not null default '',
    first_message_at timestamptz not null default now(), last_message_at timestamptz not null default now(),
    updated_at timestamptz not null default now(), unique (tenant_id, key)
);
create index conversation_key on conversation (key);
create index conversation_tenant_updated on conversation (tenant_id, updated_at desc, id desc);
create index conversation_user_updated on conversation (tenant_id, user_id, updated_at desc, id desc);
create table message (
    id uuid primary key, created_at timestamptz not null default now(),
    conversation_id uuid not null references conversation on delete cascade, position integer not null,
    role varchar(16) not null check (role in ('user', 'assistant', 'system')), agent varchar(64), content text not null,
    attachments jsonb not null default '[]', run_id uuid,
    -- text search covers the first 200,000 characters: a tsvector may not exceed 1 MB
    search tsvector generated always as (to_tsvector('english', left(content, 200000))) stored,
    unique (conversation_id, position)
);
create index message_search on message using gin (search);
-- an answer is stored once, however often its run was retried
create unique index message_answer on message (run_id) where role = 'assistant';
create table run_event (
    id uuid primary key, created_at timestamptz not null default now(),
    conversation_id uuid not null references conversation on delete cascade, sequence integer not null,
    run_id uuid, workflow_run_id varchar(64), response_id varchar(255), type varchar(64) not null, name varchar(255),
    role varchar(16), agent varchar(64), tool_call_id varchar(255), tool_name varchar(255), model varchar(255),
    content_text text, reasoning_text text, call_arguments jsonb, call_output jsonb, unique (conversation_id, sequence)
);
create index run_event_created on run_event (created_at);

create table run (
    id uuid primary key, created_at timestamptz not null default now(),
    tenant_id uuid not null references tenant on delete cascade, user_id uuid not null references users on delete cascade,
    kind varchar(32) not null, conversation_id uuid references conversation on delete cascade,
    conversation_key varchar(255) not null, agent varchar(64) not null,
    state varchar(16) not null check (state in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    request jsonb not null default '{}', idempotency_key varchar(255), fingerprint varchar(64),
    result jsonb, usage jsonb, terminal jsonb, terminal_sequence bigint, error_code varchar(64), error_message text,
    started_at timestamptz, finished_at timestamptz,
    check ((state in ('queued', 'running')) = (terminal is null))
);
create unique index run_idempotency on run (tenant_id, user_id, idempotency_key) where idempotency_key is not null;
create unique index run_one_active on run (conversation_id) where state in ('queued', 'running');
create index run_conversation on run (conversation_id);

create table job (
    id uuid primary key, created_at timestamptz not null default now(),
    name varchar(64) not null, queue varchar(32) not null, args jsonb not null default '{}', tenant_id uuid, run_id uuid,
    state varchar(16) not null check (state in ('queued', 'running', 'succeeded', 'dead', 'cancelled')),
    epoch integer not null, failures integer not null, max_failures integer not null, exhausted varchar(64),
    due_at timestamptz not null, sent_at timestamptz not null, owner varchar(255), lease_until timestamptz,
    cancel_requested boolean not null, error text, started_at timestamptz, finished_at timestamptz
) with (fillfactor = 70);
create index job_waiting on job (sent_at) where state = 'queued';
create index job_running on job (lease_until) where state = 'running';
create index job_dead on job (id) where state = 'dead';
create index job_run on job (run_id) where run_id is not null;
create index job_finished on job (finished_at) where finished_at is not null;
"""

DOWN = """
drop table job, run, run_event, message, conversation, refresh_token, session, membership, users, tenant;
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
