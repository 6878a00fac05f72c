"""Where a session comes from, and the audit log."""

UP = """
alter table session add ip_masked varchar(64), add fingerprint varchar(64), add location jsonb;
create index session_user_seen on session (user_id, last_seen_at desc, created_at desc);
create index refresh_token_of_user on refresh_token (user_id) where revoked_at is null;

create table audit_event (
    id uuid primary key, created_at timestamptz not null default now(),
    action varchar(64) not null, actor varchar(128) not null, subject varchar(255),
    tenant_id uuid, reason text, ip varchar(64), user_agent varchar(512), details jsonb not null default '{}'
);
create index audit_event_tenant on audit_event (tenant_id, id desc);
create index audit_event_actor on audit_event (actor, id desc);
create index audit_event_subject on audit_event (subject, id desc);
"""

DOWN = """
drop table audit_event;
drop index refresh_token_of_user;
drop index session_user_seen;
alter table session drop location, drop fingerprint, drop ip_masked;
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
