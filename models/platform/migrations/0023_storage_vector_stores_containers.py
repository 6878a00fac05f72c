"""Stored objects, vector stores with their files, containers and their bindings."""

UP = """
create extension if not exists vector;

create table storage_object (
    id uuid primary key, created_at timestamptz not null default now(), updated_at timestamptz not null default now(),
    tenant_id uuid not null references tenant on delete cascade,
    creator_id uuid references users on delete set null, -- null: an agent, or that user is gone
    bucket varchar(63) not null, object_key varchar(1024) not null,
    filename varchar(256) not null, mime_type varchar(128) not null,
    size_bytes bigint not null check (size_bytes >= 0), -- as announced, and once it is ready as stored
    sha256 varchar(64), -- null until it is ready
    status varchar(32) not null default 'pending_upload'
        check (status in ('pending_upload', 'ready', 'rejected', 'deleted')),
    agent_key varchar(64), conversation_id uuid references conversation on delete set null,
    metadata jsonb not null default '{}', deleted_at timestamptz,
    unique (bucket, object_key)
);
create index storage_object_tenant on storage_object (tenant_id, created_at desc, id desc) where deleted_at is null;
create index storage_object_conversation on storage_object (conversation_id) where conversation_id is not null;

create table vector_store (
    id uuid primary key, created_at timestamptz not null default now(), updated_at timestamptz not null default now(),
    tenant_id uuid not null references tenant on delete cascade, creator_id uuid references users on delete set null,
    name varchar(128) not null, description text, status varchar(32) not null,
    engine varchar(16) not null check (engine in ('pgvector', 'openai')),
    provider_id varchar(255) unique, -- the provider's id; null with pgvector, and until the provider has made it
    embedding_model varchar(128), dimensions integer check (dimensions > 0), -- of pgvector; null until the first file
    usage_bytes bigint not null default 0 check (usage_bytes >= 0),
    expires_after jsonb, expires_at timestamptz, last_active_at timestamptz,
    metadata jsonb not null default '{}', deleted_at timestamptz
);
create unique index vector_store_name on vector_store (tenant_id, name) where deleted_at is null;
create index vector_store_tenant on vector_store (tenant_id, created_at desc, id desc) where deleted_at is null;

-- the files registry: which files at the provider are whose
create table provider_file (
    id uuid primary key, created_at timestamptz not null default now(),
    tenant_id uuid not null references tenant on delete cascade,
    provider_file_id varchar(255) not null unique,
    object_id uuid references storage_object on delete set null, -- what it is a copy of
    filename varchar(256) not null, mime_type varchar(128), size_bytes bigint
);
create index provider_file_tenant on provider_file (tenant_id);
create unique index provider_file_object on provider_file (object_id) where object_id is not null;

create table vector_store_file (
    id uuid primary key, created_at timestamptz not null default now(), updated_at timestamptz not null default now(),
    tenant_id uuid not null references tenant on delete cascade,
    vector_store_id uuid not null references vector_store on delete cascade,
    file_id varchar(255) not null, -- as clients name it: `file-` and the object's id in hexadecimal, or the provider's id
    object_id uuid references storage_object on delete set null,
    filename varchar(256) not null, mime_type varchar(128), size_bytes bigint, sha256 varchar(64),
    usage_bytes bigint not null default 0 check (usage_bytes >= 0),
    status varchar(32) not null default 'in_progress'
        check (status in ('in_progress', 'completed', 'failed', 'cancelled', 'deleted')),
    attributes jsonb not null default '{}', chunking_strategy jsonb, last_error text, error_code varchar(64),
    chunk_count integer not null default 0 check (chunk_count >= 0),
    run_id uuid references run on delete set null, -- of its last indexing
    deleted_at timestamptz
);
create unique index vector_store_file_id on vector_store_file (vector_store_id, file_id) where deleted_at is null;
create index vector_store_file_list on vector_store_file (vector_store_id, created_at desc, id desc)
    where deleted_at is null;
create index vector_store_file_object on vector_store_file (object_id) where object_id is not null;

create table container (
    id uuid primary key, created_at timestamptz not null default now(), updated_at timestamptz not null default now(),
    tenant_id uuid not null references tenant on delete cascade, creator_id uuid references users on delete set null,
    name varchar(128) not null, provider_id varchar(255) unique, -- null until the provider has made it
    memory_limit varchar(16) not null, status varchar(32) not null,
    expires_after jsonb, file_ids jsonb not null default '[]', last_active_at timestamptz,
    metadata jsonb not null default '{}', deleted_at timestamptz
);
create unique index container_name on container (tenant_id, name) where deleted_at is null;
create index container_tenant on container (tenant_id, created_at desc, id desc) where deleted_at is null;

create table container_binding (
    id uuid primary key, created_at timestamptz not null default now(),
    tenant_id uuid not null references tenant on delete cascade, agent_key varchar(64) not null,
    container_id uuid not null references container on delete cascade,
    unique (tenant_id, agent_key)
);
create index container_binding_container on container_binding (container_id);
"""

DOWN = """
drop table container_binding, container, vector_store_file, provider_file, vector_store, storage_object;
drop extension vector;
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
