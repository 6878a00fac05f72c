"""Lockout, password history, and tokens that work once."""

UP = """
update users set status = 'active' where status = 'locked'; -- a lock has an end now: locked_until
alter table users drop constraint users_status_check,
    add constraint users_status_check check (status in ('pending', 'active', 'disabled'));
alter table users add failures integer not null default 0, add failed_at timestamptz, add locked_until timestamptz;
create table password_history (
    id uuid primary key, created_at timestamptz not null default now(),
    user_id uuid not null references users on delete cascade, password_hash text not null
);
create index password_history_of_user on password_history (user_id, id desc);
create table one_time_token (
    id uuid primary key, created_at timestamptz not null default now(),
    user_id uuid not null references users on delete cascade,
    purpose varchar(16) not null, secret_hash varchar(64) not null, expires_at timestamptz not null
);
create index one_time_token_of_user on one_time_token (user_id, purpose);
create index one_time_token_expires on one_time_token (expires_at);
"""

DOWN = """
alter table users drop constraint users_status_check,
    add constraint users_status_check check (status in ('pending', 'active', 'locked', 'disabled'));
drop table one_time_token, password_history;
alter table users drop locked_until, drop failed_at, drop failures;
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
