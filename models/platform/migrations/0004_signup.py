"""Operators, plans, and signup by invite or on request."""

UP = """
create table operator_grant (
    id uuid primary key, created_at timestamptz not null default now(),
    user_id uuid not null references users on delete cascade, scope varchar(64) not null, unique (user_id, scope)
);

create table plan (
    code varchar(64) primary key, created_at timestamptz not null default now(), name varchar(128) not null, trial_days integer not null default 0 check (trial_days >= 0)
);
insert into plan (code, name, trial_days) values ('starter', 'Starter', 14), ('pro', 'Pro', 14);
alter table tenant add plan_code varchar(64) references plan, add trial_ends_at timestamptz;

create table signup_request (
    id uuid primary key, created_at timestamptz not null default now(),
    email varchar(254) not null, organization varchar(128) not null, full_name varchar(128) not null, message text,
    status varchar(16) not null default 'pending' check (status in ('pending', 'approved', 'rejected')),
    network varchar(64) not null, user_agent varchar(512),
    decided_at timestamptz, decided_by varchar(128), decision_reason text, invite_token_hint varchar(16)
);
create unique index signup_request_pending on signup_request (email) where status = 'pending';
create index signup_request_network on signup_request (network, created_at) where status = 'pending';
create index signup_request_status on signup_request (status, id desc);

create table signup_invite (
    id uuid primary key, created_at timestamptz not null default now(),
    token_hash varchar(64) not null unique, token_hint varchar(16) not null, invited_email varchar(254),
    status varchar(16) not null default 'active' check (status in ('active', 'revoked', 'exhausted')),
    max_redemptions integer not null check (max_redemptions > 0),
    redeemed_count integer not null default 0 check (redeemed_count between 0 and max_redemptions),
    expires_at timestamptz, note text, issued_by varchar(128) not null, revoked_at timestamptz,
    signup_request_id uuid references signup_request on delete set null
);
create index signup_invite_email on signup_invite (invited_email);
create index signup_invite_request on signup_invite (signup_request_id);

create table signup_reservation (
    id uuid primary key, created_at timestamptz not null default now(),
    invite_id uuid not null references signup_invite on delete cascade, expires_at timestamptz not null,
    status varchar(16) not null default 'active' check (status in ('active', 'finalized', 'released', 'expired'))
);
create index signup_reservation_active on signup_reservation (invite_id) where status = 'active';
"""

DOWN = """
drop table signup_reservation, signup_invite, signup_request;
alter table tenant drop trial_ends_at, drop plan_code;
drop table plan, operator_grant;
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
