"""What the probes of services have found, minute by minute, and summed up by the hour and the day."""

UP = """
create table status_check (
    service varchar(64) not null, minute timestamptz not null,
    claimed_at timestamptz not null,
    result varchar(16) check (result in ('good', 'slow', 'failed')), -- null: being asked, or nobody lived to tell
    seconds double precision, reason varchar(300),
    shown varchar(16) not null default 'operational' -- what incidents said of the service in that minute
        check (shown in ('operational', 'degraded', 'incident', 'maintenance')),
    primary key (service, minute)
);
create index status_check_minute on status_check (minute);
create table status_uptime (
    service varchar(64) not null, period varchar(8) not null check (period in ('hour', 'day')), starts_at timestamptz not null,
    -- minutes: `measured` have a result; `up` and `down` are all that count; `degraded` and `incident` are among these
    measured integer not null, up integer not null, down integer not null,
    degraded integer not null, incident integer not null, maintenance integer not null,
    seconds double precision, -- that probes took on average
    primary key (service, period, starts_at)
);
create index status_uptime_period on status_uptime (period, starts_at);
"""

DOWN = "drop table status_uptime, status_check"


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
