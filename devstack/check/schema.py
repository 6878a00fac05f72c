"""A database's schema as comparable text: one line per column, index, constraint, trigger, function, type."""

from typing import Any

# The position of a column is left out, because a column that is dropped and added again comes last.
QUERIES = (
    """select table_name, 'column ' || column_name || ' ' || concat_ws(' ', udt_name, character_maximum_length,
           numeric_precision, numeric_scale, case is_nullable when 'NO' then 'not null' end,
           'default ' || column_default, 'generated ' || generation_expression, 'identity ' || identity_generation)
       from information_schema.columns where table_schema = 'public'""",
    "select tablename, 'index ' || indexdef from pg_indexes where schemaname = 'public'",
    """select conrelid::regclass::text, 'constraint ' || conname || ' ' || pg_get_constraintdef(oid)
       from pg_constraint where connamespace = 'public'::regnamespace and conrelid <> 0""",
    """select oid::regclass::text, 'kind ' || relkind::text || ' ' || coalesce(array_to_string(reloptions, ' '), '')
       from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'S')""",
    "select tgrelid::regclass::text, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal",
    "select '', 'extension ' || extname from pg_extension",
    """select '', 'function ' || p.oid::regprocedure || ' ' || md5(p.prosrc) from pg_proc p
       where p.pronamespace = 'public'::regnamespace
       and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')""",
    """select '', 'enum ' || t.typname || ' ' || string_agg(e.enumlabel, ',' order by e.enumsortorder)
       from pg_type t join pg_enum e on e.enumtypid = t.oid group by t.typname""",
)
OWN = "schema_migration"  # the runner's own table


def snapshot(database: Any) -> set[str]:
    """The contents of the schema `public`, except for the runner's own table."""
    rows = [row for query in QUERIES for row in database.execute_sql(query).fetchall()]
    return {f"{table}: {what}" if table else what for table, what in rows if not table.startswith(OWN)}


def differences(before: set[str], after: set[str]) -> list[str]:
    return [f"lost {line}" for line in sorted(before - after)] + [f"new {line}" for line in sorted(after - before)]
