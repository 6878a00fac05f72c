"""The span that a job was enqueued in, so that all its attempts belong to one trace."""


def up(migrator, db):
    db.execute_sql("alter table job add traceparent varchar(55)")


def down(migrator, db):
    db.execute_sql("alter table job drop traceparent")
