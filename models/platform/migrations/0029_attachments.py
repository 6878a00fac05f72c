"""What messages cite, what the documents attached to them say, and what the steps of workflows have found and made."""

UP = """
alter table message add column annotations jsonb not null default '[]';
alter table workflow_step
    add column attachments jsonb not null default '[]', -- what the step's agent has made
    add column sources jsonb not null default '[]'; -- what its text cites, for the run's answer to cite it too

-- A document is read once for a message. The text is a part of the conversation, and goes with it.
create table attachment_text (
    message_id uuid not null references message on delete cascade, object_id uuid not null,
    text text, reason varchar(200), -- one of them: what it says, or why it cannot be read
    created_at timestamptz not null default now(),
    primary key (message_id, object_id), check ((text is null) <> (reason is null))
);
"""

DOWN = """
drop table attachment_text;
alter table workflow_step drop column attachments, drop column sources;
alter table message drop column annotations;
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
