"""From when the usage of a free plan that was started again is counted."""

UP = "alter table subscription add counts_from timestamptz -- null: from the start of its period"

DOWN = "alter table subscription drop counts_from"


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
