"""Settings of tenants, and what they are told about their billing."""

UP = """
create table tenant_settings (
    id uuid primary key, created_at timestamptz not null default now(),
    tenant_id uuid not null unique references tenant on delete cascade,
    billing_contacts jsonb not null default '[]', billing_webhook_url varchar(512),
    plan_metadata jsonb not null default '{}', flags jsonb not null default '{}',
    version integer not null default 0, updated_at timestamptz, -- 0 and null: nobody has saved anything yet
    webhook_secret text, webhook_secret_before text, webhook_secret_changed_at timestamptz -- encrypted
);
create table billing_notice (
    id uuid primary key, created_at timestamptz not null default now(),
    tenant_id uuid not null references tenant on delete cascade,
    kind varchar(32) not null, key varchar(255) not null, details jsonb not null default '{}',
    told_at timestamptz, -- when its deliveries were made
    unique (tenant_id, kind, key)
);
create index billing_notice_untold on billing_notice (id) where told_at is null;
create table billing_delivery (
    id uuid primary key, created_at timestamptz not null default now(),
    tenant_id uuid not null references tenant on delete cascade,
    notice_id uuid references billing_notice on delete cascade, -- null: a test of the webhook
    channel varchar(16) not null check (channel in ('mail', 'webhook')), address varchar(320) not null default '',
    state varchar(16) not null default 'pending' check (state in ('pending', 'delivered', 'given_up')),
    attempts integer not null default 0, status_code integer, error text, finished_at timestamptz,
    unique (notice_id, channel, address)
);
create index billing_delivery_tenant on billing_delivery (tenant_id, created_at desc, id desc);
"""

DOWN = "drop table billing_delivery, billing_notice, tenant_settings"


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
