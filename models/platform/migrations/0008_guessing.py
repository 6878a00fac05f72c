"""The tokens that follow a refresh token, encrypted under that token. Locks are kept in Redis."""

# users.failures, failed_at and locked_until stay for the previous version, which is still running.
UP = "alter table refresh_token add successor bytea"
DOWN = "alter table refresh_token drop successor"


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
