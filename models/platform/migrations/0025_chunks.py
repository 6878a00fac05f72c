"""The chunks of vector stores: editions of files, and one table that small stores share. Large ones have their own."""

# MAIN: vectors stay in their rows, or each would be fetched on its own when distances are computed.
UP = """
create table vector_edition (
    id bigint primary key generated always as identity, created_at timestamptz not null default now(),
    vector_store_id uuid not null, file_row_id uuid not null, generation integer not null check (generation > 0),
    chunks integer not null default 0 check (chunks >= 0),
    unique (file_row_id, generation)
);
create index vector_edition_store on vector_edition (vector_store_id);

create table vector_chunk (
    vector_store_id uuid not null, edition_id bigint not null, position integer not null check (position >= 0),
    page integer, tokens integer not null, text text not null, embedding halfvec not null,
    search tsvector generated always as (to_tsvector('english', text)) stored,
    primary key (vector_store_id, edition_id, position)
);
alter table vector_chunk alter column embedding set storage main;

create schema vector_chunks; -- a table for each large store

alter table vector_store
    add column has_own_table boolean not null default false,
    add column indexed_edition bigint not null default 0; -- its index of vectors has the editions up to this one
alter table vector_store_file add column edition_id bigint unique; -- what searches see; null: nothing yet
"""

DOWN = """
alter table vector_store_file drop column edition_id;
alter table vector_store drop column indexed_edition, drop column has_own_table;
drop schema vector_chunks cascade;
drop table vector_chunk, vector_edition;
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
