"""Usage as a ledger that is only added to, its sums by hour, what goes to Stripe's meters, and what is reserved."""

UP = """
create table usage_entry (
    tenant_id uuid not null references tenant on delete cascade,
    source varchar(300) not null, -- what has used it: run:<id>, run:<id>/<step>, api:<key>, operator:<id>
    feature varchar(64) not null,
    number smallint not null default 0, -- 1, 2 ...: corrections of what was counted before
    quantity bigint not null check (quantity <> 0),
    used_at timestamptz not null default clock_timestamp(), created_at timestamptz not null default clock_timestamp(),
    details jsonb, -- who has reported it, and for which period
    primary key (tenant_id, source, feature, number)
);
create index usage_entry_window on usage_entry (tenant_id, used_at) include (feature, quantity);
-- entries that usage_counter does not have yet; no reference, whose check would cost every chat its time
create table usage_tail (
    id bigint generated always as identity primary key, tenant_id uuid not null,
    feature varchar(64) not null, used_at timestamptz not null, quantity bigint not null,
    created_at timestamptz not null default clock_timestamp()
);
create index usage_tail_tenant on usage_tail (tenant_id);
create table usage_counter (
    tenant_id uuid not null references tenant on delete cascade, feature varchar(64) not null,
    hour timestamptz not null, quantity bigint not null,
    primary key (tenant_id, feature, hour)
);
-- what is told to Stripe's meters. The id is the identifier of the meter event; once it is sealed, a batch never changes
create table usage_batch (
    id uuid primary key, created_at timestamptz not null default now(),
    tenant_id uuid not null references tenant on delete cascade, feature varchar(64) not null,
    hour timestamptz not null,
    period_start timestamptz not null, -- of the subscription, as known; -infinity: none was known
    quantity bigint not null, used_at timestamptz not null, -- of its newest entry
    state varchar(16) not null default 'open' check (state in ('open', 'sealed', 'sent', 'parked')),
    event_name varchar(100), stripe_customer_id varchar(255), -- set when it is sealed
    attempts integer not null default 0, due_at timestamptz, first_sent_at timestamptz, sent_at timestamptz, error text
);
create unique index usage_batch_open on usage_batch (tenant_id, feature, hour, period_start) where state = 'open';
create index usage_batch_due on usage_batch (due_at) where state = 'sealed';
create index usage_batch_hour on usage_batch (tenant_id, feature, hour);
create index usage_batch_parked on usage_batch (created_at) where state = 'parked';

create table usage_guard ( -- how often Postgres has decided alone; what Redis knows is then out of date
    tenant_id uuid primary key references tenant on delete cascade, generation bigint not null default 0
);
create table usage_hold ( -- reserved by work that is not a run; what runs reserve follows from their state
    tenant_id uuid not null references tenant on delete cascade, holder uuid not null, feature varchar(64) not null,
    quantity bigint not null check (quantity > 0), created_at timestamptz not null default now(),
    primary key (tenant_id, holder, feature)
);
create index run_open on run (tenant_id) where state in ('queued', 'running', 'waiting');

-- processes of the version before this one still write usage_record
create function copy_usage_record() returns trigger language plpgsql as $$
declare
    added bigint := new.quantity;
begin
    if tg_op = 'UPDATE' then
        added := new.quantity - old.quantity;
    end if;
    if added <> 0 then
        insert into usage_entry (tenant_id, source, feature, number, quantity, used_at, created_at)
        select new.tenant_id, 'run:' || new.run_id, new.feature, coalesce(max(number) + 1, 0), added, new.created_at,
            new.created_at
        from usage_entry
        where tenant_id = new.tenant_id and source = 'run:' || new.run_id and feature = new.feature;
        insert into usage_tail (tenant_id, feature, used_at, quantity)
        values (new.tenant_id, new.feature, new.created_at, added);
    end if;
    return new;
end $$;
create trigger usage_record_copied after insert or update on usage_record
    for each row execute function copy_usage_record();
insert into usage_entry (tenant_id, source, feature, quantity, used_at, created_at)
select tenant_id, 'run:' || run_id, feature, quantity, created_at, created_at from usage_record;
insert into usage_counter (tenant_id, feature, hour, quantity)
select tenant_id, feature, date_trunc('hour', created_at), sum(quantity) from usage_record group by 1, 2, 3;
"""

DOWN = """
drop trigger usage_record_copied on usage_record;
drop function copy_usage_record;
insert into usage_record (id, created_at, tenant_id, run_id, feature, quantity)
select gen_random_uuid(), min(created_at), tenant_id, substr(source, 5)::uuid, feature, sum(quantity)
from usage_entry where source ~ '^run:[0-9a-f-]{36}$' group by tenant_id, source, feature having sum(quantity) > 0
on conflict (run_id, feature) do update set quantity = greatest(usage_record.quantity, excluded.quantity);
drop index run_open;
drop table usage_hold, usage_guard, usage_batch, usage_counter, usage_tail, usage_entry;
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
