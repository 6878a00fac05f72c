"""What is known of a container at the provider, and since when; which of its successive ones there it is."""

UP = """
alter table container
    add generation integer not null default 1, -- the provider's containers expire, and another one takes the row's place
    add error_code varchar(64), -- why it could not be made
    add asked_at timestamptz, add synced_at timestamptz; -- when the provider was last to be asked for it, and has answered
create index container_running on container (synced_at nulls first) where status = 'running' and deleted_at is null;
"""

DOWN = """
drop index container_running;
alter table container drop generation, drop error_code, drop asked_at, drop synced_at;
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
