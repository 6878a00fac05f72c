"""Titles of conversations, and summaries of their older messages for the model."""

import textwrap

atomic = False  # titles are filled in small steps: no lock is held for longer than one of them
BATCH, CHARACTERS = 1000, 60

# Each statement may run again after an interrupted attempt. The index holds only titles that somebody chose: the words of
# any other title are found in the conversation's first message.
UP = """
alter table conversation
    add column if not exists title varchar(200), add column if not exists renamed_at timestamptz,
    add column if not exists summary text, add column if not exists summary_end integer;
create index if not exists conversation_renamed on conversation using gin (to_tsvector('english', title))
    where renamed_at is not null
"""
UNTITLED = """
select conversation.id, left(ltrim(content), 1000) from conversation
join message on conversation_id = conversation.id and position = 0
where title is null and conversation.id > %s order by conversation.id limit %s
"""
FILL = """
update conversation set title = given.title from unnest(%s::uuid[], %s::text[]) as given(id, title)
where conversation.id = given.id and conversation.title is null
"""
DOWN = """
drop index if exists conversation_renamed;
alter table conversation drop column if exists title, drop column if exists renamed_at,
    drop column if exists summary, drop column if exists summary_end
"""


def up(migrator, db):
    db.execute_sql(UP)
    last = "00000000-0000-0000-0000-000000000000"
    while rows := db.execute_sql(UNTITLED, (last, BATCH)).fetchall():
        db.execute_sql(FILL, ([str(row[0]) for row in rows], [_title(row[1]) for row in rows]))
        last = str(rows[-1][0])


def down(migrator, db):
    db.execute_sql(DOWN)


def _title(question):
    text = " ".join(question.split())
    if len(text) <= CHARACTERS:
        return text or None
    short = textwrap.shorten(text, CHARACTERS, placeholder="…")
    return short if len(short) > 1 else text[: CHARACTERS - 1] + "…"
