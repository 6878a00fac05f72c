"""Tokens of service accounts, and runs that a machine has started."""

UP = """
alter table run alter user_id drop not null;
create table service_token (
    id uuid primary key, created_at timestamptz not null default now(),
    account varchar(64) not null, tenant_id uuid references tenant on delete cascade,
    scopes jsonb not null, scope_key text not null, token_hash varchar(64) not null, signing_kid varchar(64) not null,
    fingerprint varchar(256), issued_by varchar(128) not null, reason text,
    expires_at timestamptz not null, revoked_at timestamptz, revoked_reason varchar(256)
);
create unique index service_token_live on service_token (account, tenant_id, scope_key)
    nulls not distinct where revoked_at is null;
create index service_token_tenant on service_token (tenant_id, id desc);
"""

DOWN = """
drop table service_token;
delete from run where user_id is null;
alter table run alter user_id set not null;
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
