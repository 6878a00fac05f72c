"""The requests of finished runs no longer repeat the text of their message, nor the agent, which is a column."""

# Runs that are still active keep it: a worker of the previous version may be reading it.
UP = """
update run set request = request - 'message' - 'agent'
where request ?| array['message', 'agent'] and state not in ('queued', 'running')
"""
DOWN = """
update run set request = run.request || jsonb_build_object('message', message.content, 'agent', run.agent)
from message where message.run_id = run.id and message.role = 'user'
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
