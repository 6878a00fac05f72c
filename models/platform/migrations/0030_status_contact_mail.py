"""Status: incidents with their updates, who is told of them, and what was sent. Contact messages. Addresses that get no mail."""

UP = """
create table status_incident (
    id uuid primary key, created_at timestamptz not null default now(), updated_at timestamptz not null default now(),
    slug varchar(100) not null unique, -- the incident_id of the API
    kind varchar(16) not null check (kind in ('incident', 'maintenance')),
    title varchar(200) not null, impact text not null,
    severity varchar(16) not null check (severity in ('minor', 'major', 'critical', 'maintenance')),
    state varchar(16) not null check (state in
        ('investigating', 'identified', 'monitoring', 'resolved', 'scheduled', 'in_progress', 'verifying', 'completed')),
    services jsonb not null default '{}', -- key of a service: how it is affected (degraded, incident, maintenance)
    probe varchar(64), -- the service whose probe has opened it; null: an operator
    published_at timestamptz, -- null: a draft
    starts_at timestamptz not null, until timestamptz, ended_at timestamptz,
    version integer not null default 1
);
create unique index status_incident_probe on status_incident (probe) where ended_at is null; -- one at a time
create index status_incident_newest on status_incident (starts_at desc, id desc) where published_at is not null;
create table status_update (
    id uuid primary key, created_at timestamptz not null default now(),
    incident_id uuid not null references status_incident on delete cascade,
    state varchar(16) not null, text text not null, creator varchar(64) not null,
    notify boolean not null default true
);
create index status_update_incident on status_update (incident_id, id);
create table status_subscription (
    id uuid primary key, created_at timestamptz not null default now(), updated_at timestamptz not null default now(),
    tenant_id uuid references tenant on delete cascade, -- null: of the public
    channel varchar(16) not null check (channel in ('email', 'webhook')),
    target_hash varchar(64) not null, target_encrypted text, target_masked varchar(320) not null, -- erased when revoked
    host varchar(255) not null default '', -- of a webhook
    severity_filter varchar(16) not null check (severity_filter in ('all', 'major', 'maintenance')),
    components jsonb not null default '[]', -- keys of services; empty: all
    status varchar(32) not null check (status in ('pending_verification', 'active', 'revoked', 'disabled')),
    metadata jsonb not null default '{}', creator varchar(64) not null,
    token_hash varchar(64), token_expires_at timestamptz, sent_at timestamptz, -- of the confirmation or challenge
    verified_at timestamptz,
    secret text, secret_before text, secret_changed_at timestamptz, -- of a webhook, encrypted
    failures integer not null default 0, failing_since timestamptz,
    revoked_at timestamptz, revoked_reason varchar(128)
);
create unique index status_subscription_target on status_subscription
    (channel, target_hash, coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid)) where status <> 'revoked';
create index status_subscription_newest on status_subscription (created_at desc, id desc);
create index status_subscription_tenant on status_subscription (tenant_id, created_at desc, id desc);
create index status_subscription_token on status_subscription (token_hash) where token_hash is not null;
create index status_subscription_pending on status_subscription (token_expires_at) where status = 'pending_verification';
create table status_fanout (
    id uuid primary key, created_at timestamptz not null default now(),
    update_id uuid not null references status_update on delete cascade,
    kind varchar(16) not null check (kind in ('update', 'resend')),
    severity varchar(16) not null check (severity in ('all', 'minor', 'major', 'maintenance')), -- whose filters it passes
    scope varchar(16) not null check (scope in ('everybody', 'public', 'tenant')), tenant_id uuid references tenant on delete cascade,
    creator varchar(64) not null,
    position uuid, -- the last subscription that has its delivery
    total integer not null default 0, handed_out_at timestamptz, finished_at timestamptz
);
create unique index status_fanout_update on status_fanout (update_id) where kind = 'update';
create index status_fanout_open on status_fanout (id) where finished_at is null;
create table status_delivery (
    id uuid primary key, created_at timestamptz not null default now(),
    fanout_id uuid not null references status_fanout on delete cascade,
    update_id uuid not null references status_update on delete cascade,
    subscription_id uuid references status_subscription on delete cascade, -- null: to a Slack channel
    tenant_id uuid references tenant on delete cascade,
    channel varchar(16) not null check (channel in ('email', 'webhook', 'slack')),
    host varchar(255) not null, -- what is slow together: the webhook's host, or the channel
    target varchar(255) not null default '', -- a Slack channel; those of subscriptions are kept there, encrypted
    state varchar(16) not null default 'pending' check (state in ('pending', 'delivered', 'given_up', 'skipped')),
    attempts integer not null default 0, due_at timestamptz not null default now(),
    claimed_until timestamptz, claim uuid, -- by whom it is being sent
    status_code integer, error text, finished_at timestamptz
);
create unique index status_delivery_once on status_delivery (fanout_id, subscription_id) where subscription_id is not null;
create unique index status_delivery_once_slack on status_delivery (fanout_id, target) where subscription_id is null;
create index status_delivery_due on status_delivery (due_at, id) where state = 'pending';
create index status_delivery_subscription on status_delivery (subscription_id, created_at desc, id desc);
create table contact_message (
    id uuid primary key, created_at timestamptz not null default now(), updated_at timestamptz not null default now(),
    email varchar(320) not null, name varchar(120), company varchar(120), topic varchar(80), message text not null,
    ip varchar(64), user_agent varchar(512),
    state varchar(16) not null default 'open' check (state in ('open', 'assigned', 'closed', 'suppressed')),
    assignee varchar(320), closed_at timestamptz, mailed_at timestamptz
);
create index contact_message_newest on contact_message (created_at desc, id desc);
create table mail_suppression (
    id uuid primary key, created_at timestamptz not null default now(),
    address_hash varchar(64) not null unique, address_masked varchar(320) not null,
    reason varchar(16) not null check (reason in ('bounce', 'complaint', 'operator')), details jsonb not null default '{}'
);
"""

DOWN = """
drop table mail_suppression, contact_message, status_delivery, status_fanout, status_subscription, status_update,
    status_incident;
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
