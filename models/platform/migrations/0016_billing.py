"""Plans with prices, subscriptions, invoices, and events from outside."""

UP = """
alter table plan add price_cents integer not null default 0 check (price_cents >= 0),
    add currency varchar(3) not null default 'USD', add "interval" varchar(16) not null default 'monthly',
    add interval_count integer not null default 1 check (interval_count > 0),
    add seats_included integer check (seats_included > 0), add toggles jsonb not null default '{}',
    add is_active boolean not null default true;
alter table plan_limit add display_name varchar(128), add description text, add is_metered boolean not null default true;
alter table tenant add seats integer check (seats > 0); -- members that it may have; null: any number

-- Stripe's ids of what a plan sells: feature '' is the seat
create table stripe_price (
    plan_code varchar(64) not null references plan on delete cascade, feature varchar(64) not null,
    stripe_product_id varchar(255) not null, stripe_price_id varchar(255) not null unique,
    primary key (plan_code, feature)
);
create table stripe_meter (
    feature varchar(64) primary key, event_name varchar(100) not null unique, stripe_meter_id varchar(255) not null unique
);
create table billing_customer (
    tenant_id uuid primary key references tenant on delete cascade, created_at timestamptz not null default now(),
    stripe_customer_id varchar(255) unique, -- null: not made at Stripe yet
    email varchar(320), trial_used_at timestamptz, -- a tenant has one trial
    position bigint not null default 0 -- of its newest event: see inbox_event.position
);

-- one per tenant: what Stripe last said of the subscription that counts
create table subscription (
    id uuid primary key, created_at timestamptz not null default now(), updated_at timestamptz not null default now(),
    tenant_id uuid not null unique references tenant on delete cascade,
    plan_code varchar(64) not null references plan, status varchar(32) not null,
    auto_renew boolean not null default true, billing_email varchar(320), seat_count integer check (seat_count > 0),
    starts_at timestamptz not null, current_period_start timestamptz, current_period_end timestamptz,
    trial_ends_at timestamptz, cancel_at timestamptz, ended_at timestamptz,
    past_due_since timestamptz, -- when the grace began
    stripe_subscription_id varchar(255) unique, -- null until Stripe has made it
    metadata jsonb not null default '{}'
);
-- every subscription that Stripe has told us of, in its newest known form
create table stripe_subscription (
    stripe_subscription_id varchar(255) primary key, tenant_id uuid not null references tenant on delete cascade,
    started_at timestamptz not null, is_live boolean not null, object jsonb not null,
    as_of timestamptz not null, rank smallint not null, event_id varchar(255) not null
);
create index stripe_subscription_tenant on stripe_subscription (tenant_id, started_at desc);
create table invoice (
    id uuid primary key, created_at timestamptz not null default now(), updated_at timestamptz not null default now(),
    tenant_id uuid not null references tenant on delete cascade,
    stripe_invoice_id varchar(255) not null unique, stripe_subscription_id varchar(255), number varchar(255),
    status varchar(32) not null, billing_reason varchar(64), collection_method varchar(64), currency varchar(3) not null,
    total_cents bigint not null, amount_due_cents bigint not null, amount_paid_cents bigint not null,
    period_start timestamptz, period_end timestamptz, issued_at timestamptz not null,
    hosted_invoice_url text, pdf_url text, lines jsonb not null default '[]',
    as_of timestamptz not null, rank smallint not null, event_id varchar(255) not null
);
create index invoice_tenant on invoice (tenant_id, issued_at desc, id desc);

-- what happened elsewhere and what we did about it; also our own acts, which have no payload
create table inbox_event (
    id uuid primary key, received_at timestamptz not null default clock_timestamp(),
    source varchar(32) not null, external_id varchar(255) not null, type varchar(128) not null,
    object_id varchar(255), tenant_id uuid references tenant on delete cascade, occurred_at timestamptz not null,
    payload jsonb,
    state varchar(16) not null default 'received' check (state in ('received', 'processed', 'failed')),
    attempts integer not null default 0, error text,
    due_at timestamptz default now(), -- of the next attempt; null: none is due, it is processed, or parked if it failed
    processed_at timestamptz,
    position bigint, -- in its tenant's stream of events; set when it is processed
    event jsonb, -- as clients get it
    unique (source, external_id)
);
create index inbox_event_due on inbox_event (due_at) where due_at is not null;
create index inbox_event_parked on inbox_event (received_at desc) where state = 'failed' and due_at is null;
create index inbox_event_tenant on inbox_event (tenant_id, received_at desc, id desc);
create unique index inbox_event_position on inbox_event (tenant_id, position) where position is not null;

-- what a tenant asked of Stripe: the id is the root of the idempotency keys
create table billing_operation (
    id uuid primary key, created_at timestamptz not null default now(),
    tenant_id uuid not null references tenant on delete cascade, actor varchar(255) not null,
    kind varchar(32) not null, request jsonb not null default '{}',
    is_change boolean not null, -- of the subscription: one at a time
    state varchar(16) not null default 'pending' check (state in ('pending', 'succeeded', 'failed')),
    result jsonb, error_code varchar(64), error_message text, finished_at timestamptz
);
create unique index billing_operation_pending on billing_operation (tenant_id) where is_change and state = 'pending';
create index billing_operation_tenant on billing_operation (tenant_id, created_at desc);
"""

DOWN = """
drop table billing_operation, inbox_event, invoice, stripe_subscription, subscription, billing_customer, stripe_meter, stripe_price;
alter table tenant drop seats;
alter table plan_limit drop display_name, drop description, drop is_metered;
alter table plan drop price_cents, drop currency, drop "interval", drop interval_count, drop seats_included, drop toggles,
    drop is_active;
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
