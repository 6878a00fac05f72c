"""Stored objects: who wrote them, why one was rejected, what is to be removed; and the buckets."""

UP = """
alter table storage_object
    add column source varchar(255), -- of what a worker wrote: what it is the result of. Null: a person uploaded it
    add column rejection_code varchar(64), -- of a rejected object
    add column upload_id varchar(1024), -- of an upload in parts, at the storage
    add column part_bytes bigint check (part_bytes > 0), -- the size of its parts
    add column verify_job_id uuid, -- the last job that looked for its bytes
    add column blobs_removed_at timestamptz; -- of a deleted or rejected object: nothing of it is left in the storage
create unique index storage_object_source on storage_object (tenant_id, source) where source is not null;
create index storage_object_bytes on storage_object (tenant_id) include (size_bytes)
    where deleted_at is null and status in ('pending_upload', 'ready');
create index storage_object_unsettled on storage_object (created_at)
    where deleted_at is null and status in ('pending_upload', 'rejected');
create index storage_object_leftover on storage_object (tenant_id)
    where blobs_removed_at is null and (deleted_at is not null or status = 'rejected');

-- No reference to the tenant: a bucket outlives it until it is emptied.
create table storage_bucket (
    name varchar(63) primary key, created_at timestamptz not null default now(),
    tenant_id uuid not null, made_at timestamptz -- null until the storage has it
);
"""

DOWN = """
drop table storage_bucket;
drop index storage_object_leftover, storage_object_unsettled, storage_object_bytes, storage_object_source;
alter table storage_object
    drop column blobs_removed_at, drop column verify_job_id, drop column part_bytes, drop column upload_id,
    drop column rejection_code, drop column source;
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
