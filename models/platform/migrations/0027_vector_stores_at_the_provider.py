"""When a store at the provider is asked for again, and what to look through for stores that expire."""

UP = """
alter table vector_store add next_sync_at timestamptz, add sync_failures integer not null default 0;
create index vector_store_sync on vector_store (next_sync_at) where engine = 'openai' and deleted_at is null;
create index vector_store_expiry on vector_store (expires_at) where expires_at is not null and deleted_at is null;
"""

DOWN = """
drop index vector_store_expiry, vector_store_sync;
alter table vector_store drop next_sync_at, drop sync_failures;
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
