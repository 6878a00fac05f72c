"""Which indexing of a file is under way; and a file's indexing ends with its run, whoever ends that."""

# A run can be ended by the edge, the scheduler, an operator or a worker, some of which know nothing of files.
UP = """
alter table vector_store_file
    add column generation integer not null default 0, -- of the last indexing that has begun
    add column begun_run_id uuid; -- whose indexing that is
create index vector_store_file_content on vector_store_file (vector_store_id, sha256) where deleted_at is null;

create function end_indexing() returns trigger language plpgsql as $$
begin
    update vector_store_file set
        status = case when edition_id is null then new.state else 'completed' end,
        error_code = new.error_code, last_error = new.error_message, updated_at = clock_timestamp()
    where run_id = new.id and deleted_at is null;
    return null;
end $$;
create trigger run_indexing_ended after update of state on run for each row
when (new.kind = 'indexing' and new.state in ('failed', 'cancelled') and old.state is distinct from new.state)
execute function end_indexing();
create index vector_store_file_run on vector_store_file (run_id) where run_id is not null;
"""

DOWN = """
drop trigger run_indexing_ended on run;
drop function end_indexing;
drop index vector_store_file_run, vector_store_file_content;
alter table vector_store_file drop column generation, drop column begun_run_id;
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
