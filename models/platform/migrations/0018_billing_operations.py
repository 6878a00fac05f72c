"""Finding the operations that are still open."""

UP = "create index billing_operation_open on billing_operation (created_at) where state = 'pending'"

DOWN = "drop index billing_operation_open"


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
